-- The observations of resources.

-- Returns whether an output with content other than `digest` was published at a path after the
-- event `as_of`, or is committed and not published.
local function came_later(resource, path, as_of, digest)
  local _, there = artifacts.at(resource, path)
  if not there or not there.visible then return false end
  if there.visible ~= 'pending' and tonumber(there.visible) <= as_of then return false end
  return not digest or there.digest ~= digest
end

-- Returns whether recording an observation would undo an output.
local function is_outdated(resource, seen, as_of)
  if seen.kind == 'renamed' then
    return came_later(resource, seen.from, as_of) or came_later(resource, seen.to, as_of)
  end
  return came_later(resource, seen.path, as_of, seen.kind == 'present' and seen.digest)
end

-- Updates the stamp of a version whose content has not changed.
local function stamp(seq, there, new)
  if there.stamp ~= new then set(artifacts.key(seq), {stamp = new}) end
end

-- Returns whether observed content is the version `there`: by their digests, or by their stamps
-- where one has no digest.
local function holds(there, seen)
  if there.digest and seen.digest then return there.digest == seen.digest end
  return there.state ~= 'ignored' and there.stamp == seen.stamp
end

local observe = {}

function observe.present(resource, seen, now, made)
  local seq, there = artifacts.at(resource, seen.path)
  if there and holds(there, seen) then return stamp(seq, there, seen.stamp) end
  artifacts.replace(resource, seen.path, now)
  local _, version = artifacts.insert({
    id = seen.id, resource = resource, path = seen.path, digest = seen.digest, size = seen.size,
    state = 'new', stamp = seen.stamp,
  }, now)
  made.new = made.new + 1
  artifacts.wait(resource, 1, tonumber(seen.size))
  local data = artifacts.describe(resource, seen.path, version, seen.digest, seen.size)
  emit('artifact_recorded', now, data, {artifact = seen.id})
end

function observe.gone(resource, seen, now)
  local seq, there = artifacts.at(resource, seen.path)
  if not seq then return end
  local was_new = there.state == 'new'
  artifacts.finish(seq, was_new and 'deleted' or there.state)
  if was_new then artifacts.wait(resource, -1, -tonumber(there.size)) end
  local data = json('resource', text(resource), 'path', text(seen.path), 'version', there.version)
  emit('artifact_deleted', now, data, {artifact = there.id})
end

-- A rename of a path that is not on record is ignored: without a digest it cannot become a version.
-- The next scan finds the file.
function observe.renamed(resource, seen, now)
  local seq, moved = artifacts.at(resource, seen.from)
  if not seq then return end
  if seen.from == seen.to then return stamp(seq, moved, seen.stamp) end
  artifacts.replace(resource, seen.to, now)
  local highest, version = artifacts.highest(resource, seen.to), tonumber(moved.version)
  if version <= highest then version = highest + 1 end
  local at = next_number('seq')
  note('HSET', key('moved', resource, at), 'path', seen.from, 'version', moved.version, 'placed', moved.placed, 'artifact', seq)
  note('ZADD', key('moved', resource), at, at)
  note('ZADD', key('moves', seq), at, at)
  note('ZREM', key('path', seen.from), seq)
  note('ZADD', key('path', seen.to), seq, seq)
  artifacts.leave(resource, seen.from)
  artifacts.put_at(resource, seen.to, seq, version)
  set(artifacts.key(seq), {path = seen.to, version = version, placed = at, stamp = seen.stamp})
  local data = json('resource', text(resource), 'from', text(seen.from), 'path', text(seen.to), 'version', int(version))
  emit('artifact_renamed', now, data, {artifact = moved.id})
end

function observe.ignored(resource, seen, now)
  local seq, there = artifacts.at(resource, seen.path)
  if there and there.state == 'ignored' and there.reason == seen.reason then
    return stamp(seq, there, seen.stamp)
  end
  artifacts.replace(resource, seen.path, now)
  artifacts.insert({
    id = seen.id, resource = resource, path = seen.path, size = '0', state = 'ignored', reason = seen.reason,
    stamp = seen.stamp,
  }, now)
  local data = json('resource', text(resource), 'path', text(seen.path), 'reason', text(seen.reason))
  emit('artifact_ignored', now, data, {artifact = seen.id})
end

-- Records a batch of observations, in order. A repeat returns the first answer.
function methods.record(args)
  local resource, name = args.resource, key('waiting', args.resource)
  local waiting, as_of = get(name), tonumber(args.as_of)
  local is_repeat = waiting and waiting.batch == args.id
  local outdated, made = {}, {new = 0}
  for at, seen in ipairs(args.seen) do
    if is_outdated(resource, seen, as_of) then
      outdated[#outdated + 1] = int(at - 1)
    elseif not is_repeat then
      observe[seen.kind](resource, seen, args.now, made)
    end
  end
  if is_repeat then
    made.new = waiting.batch_new
  else
    artifacts.wait(resource, 0, 0)
    set(name, {batch = args.id, batch_new = made.new})
    if args.cursor then
      note('HSET', key('cursors'), resource, args.cursor)
      note('HSET', key('cursors', 'updated'), resource, args.now)
    end
  end
  return function()
    return {int(made.new), outdated, artifacts.pending(resource)}
  end
end
