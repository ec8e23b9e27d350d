-- Artifacts: their records and paths, and the counters of pending ones.

local artifacts = {}

function artifacts.key(seq)
  return key('artifact', seq)
end

-- Returns an artifact by its sequence.
function artifacts.get(seq)
  return get(artifacts.key(seq))
end

-- Returns the sequence of an artifact by its id; nil if it is not on record.
function artifacts.find(id)
  return cell(key('artifact_ids'), id)
end

-- Returns the sequence and the fields of the version at a path; nil if there is none.
function artifacts.at(resource, path)
  local seq = cell(key('at', resource), path)
  if seq then return seq, artifacts.get(seq) end
end

-- Returns the highest version number that a path ever had.
function artifacts.highest(resource, path)
  return tonumber(cell(key('versions', resource), path) or 0)
end

function artifacts.put_at(resource, path, seq, version)
  set_cell(key('at', resource), path, seq)
  set_cell(key('versions', resource), path, version)
  note('ZADD', key('paths', resource), 0, path)
end

function artifacts.leave(resource, path)
  set_cell(key('at', resource), path, false)
  note('ZREM', key('paths', resource), path)
end

-- Sets the state of an artifact, and moves it between the lists by state.
function artifacts.set_state(seq, state)
  local artifact = artifacts.get(seq)
  if artifact.state == state then return end
  note('ZREM', key('artifacts', artifact.resource, artifact.state), seq)
  note('ZADD', key('artifacts', artifact.resource, state), seq, seq)
  set(artifacts.key(seq), {state = state})
end

-- Puts the next version of a path on record. The caller has ended the version before. `new` has the
-- fields of the record. Returns the sequence and the version.
function artifacts.insert(new, now)
  local seq = next_number('seq')
  local version = artifacts.highest(new.resource, new.path) + 1
  new.version, new.created, new.placed = int(version), now, seq
  set(artifacts.key(seq), new)
  set_cell(key('artifact_ids'), new.id, seq)
  artifacts.put_at(new.resource, new.path, seq, version)
  note('SADD', key('resources'), new.resource)
  note('ZADD', key('artifacts'), seq, seq)
  note('ZADD', key('artifacts', new.resource), seq, seq)
  note('ZADD', key('artifacts', new.resource, new.state), seq, seq)
  note('ZADD', key('path', new.path), seq, seq)
  return seq, new.version
end

-- Records that a version is no longer at its path, and sets its state.
function artifacts.finish(seq, state)
  local artifact, ended = artifacts.get(seq), next_number('seq')
  artifacts.leave(artifact.resource, artifact.path)
  artifacts.set_state(seq, state)
  set(artifacts.key(seq), {ended = ended})
  note('ZADD', key('ended', artifact.resource), ended, seq)
end

-- Changes the counters of pending artifacts of a resource.
function artifacts.wait(resource, count, bytes)
  local name = key('waiting', resource)
  local waiting = get(name)
  if not waiting then note('SADD', key('resources'), resource) end
  waiting = waiting or {}
  set(name, {count = tonumber(waiting.count or 0) + count, bytes = tonumber(waiting.bytes or 0) + bytes})
end

-- Returns the pending artifacts of a resource. A work that changes them asks once it is written.
function artifacts.pending(resource)
  local waiting, found = get(key('waiting', resource)), {'as_of', newest_number('event')}
  if not waiting or tonumber(waiting.count) <= 0 then return found end
  local list = key('artifacts', resource, 'new')
  for name, at in pairs({oldest = 0, newest = -1}) do
    local seq = redis.call('ZRANGE', list, at, at)[1]
    found[#found + 1] = name
    found[#found + 1] = redis.call('HGET', artifacts.key(seq), 'created')
  end
  for _, name in ipairs({'count', 'bytes'}) do
    found[#found + 1] = name
    found[#found + 1] = waiting[name]
  end
  return found
end

-- Replaces the version at a path by another. It becomes `superseded` if it was not claimed.
function artifacts.replace(resource, path, now)
  local seq, there = artifacts.at(resource, path)
  if not seq then return end
  if there.state ~= 'new' then
    artifacts.finish(seq, there.state)
    return
  end
  artifacts.finish(seq, 'superseded')
  artifacts.wait(resource, -1, -tonumber(there.size))
  local data = json('resource', text(resource), 'path', text(path), 'version', there.version)
  emit('artifact_superseded', now, data, {artifact = there.id})
end

-- What people are told about a version.
function artifacts.describe(resource, path, version, digest, size)
  return json('resource', text(resource), 'path', text(path), 'version', version, 'digest', maybe(digest), 'size', size)
end
