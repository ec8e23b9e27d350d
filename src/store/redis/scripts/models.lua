-- Registered models, their versions, and the moves of their aliases.

local models = {}

function models.key(name)
  return key('model', name)
end

function models.version_key(name, version)
  return key('model_version', name, version)
end

-- Creates a model, if there is none of this name.
function models.create(name, now)
  if get(models.key(name)) then return end
  set(models.key(name), {created = now, newest = 0})
  note('ZADD', key('models'), 0, name)
end

-- Writes an event about an artifact. `by` has the attempt that changes the registry, if one does.
local function tell(kind, by, data, artifact, now)
  local attempt = by.attempt
  emit(kind, now, data, {
    run = attempt and runs.get(attempt.run).id, action = attempt and attempt.action, attempt = attempt and attempt.id,
    artifact = artifact,
  })
end

-- Returns the models of which an artifact is a version, with its number in each.
local function versions_of(seq)
  local known = cell(key('registered'), seq)
  return known and cjson.decode(known) or {}
end

-- Notes of which version of a model an artifact is the content.
function models.list(seq, name, version)
  local known = versions_of(seq)
  known[name] = version
  set_cell(key('registered'), seq, cjson.encode(known))
  note('ZADD', key('registered', artifacts.get(seq).resource), seq, seq)
end

-- Registers an artifact as the next version of a model. `by` says who does: `by` and `note`, or
-- `attempt`. Returns the version. A repeat returns the first one.
function models.register(name, id, by, now)
  local seq = artifacts.find(id)
  if not seq then refuse('conflict', 'there is no artifact ' .. id) end
  local artifact, known = artifacts.get(seq), versions_of(seq)
  if known[name] then return known[name] end
  if artifact.ended or artifact.state == 'ignored' or artifact.state == 'not_taken' then
    refuse('conflict', 'artifact ' .. id .. ' is not in its place, so it cannot be a version of a model')
  end
  models.create(name, now)
  local version = int(tonumber(get(models.key(name)).newest) + 1)
  set(models.key(name), {newest = version})
  set(models.version_key(name, version), {artifact = seq, by = by.by, note = by.note, at = now})
  models.list(seq, name, version)
  local data = json(
    'model', text(name), 'version', version, 'resource', text(artifact.resource), 'path', text(artifact.path), 'by', maybe(by.by)
  )
  tell('model_version_registered', by, data, id, now)
  return version
end

-- Returns a move by its number.
function models.move(seq)
  local move = get(key('move', seq))
  move.seq = seq
  return move
end

-- Returns the last move of an alias; nil if the model has no such alias.
function models.last_move(name, alias)
  local seq = cell(key('model', name, 'aliases'), alias)
  return seq and models.move(seq)
end

-- Puts the tag of an alias on the artifact of its version. It leaves the version before, and what
-- else has it in the resource, except versions of other models.
local function move_tag(name, step, seq)
  if step.before then
    local old = get(models.version_key(name, step.before)).artifact
    if old ~= seq then tags.take(old, step.alias) end
  end
  for _, other in ipairs(tags.holders(artifacts.get(seq).resource, step.alias)) do
    local is_of_another = false
    for model in pairs(versions_of(other)) do
      is_of_another = is_of_another or model ~= name
    end
    if other ~= seq and not is_of_another then tags.take(other, step.alias) end
  end
  tags.put(seq, step.alias, false)
end

-- Makes an alias name a version, and moves the tag of the same name. Returns the number of the
-- move.
function models.point(name, step, by, now)
  local seq, attempt = next_number('move'), by.attempt
  set(key('move', seq), {
    model = name, alias = step.alias, version = step.version, before = step.before, back = step.back,
    rolled_back = step.rolled_back and '1' or nil, by = by.by, note = by.note, write = by.write, at = now,
    run_id = attempt and runs.get(attempt.run).id, run = attempt and attempt.run, action = attempt and attempt.action,
  })
  set_cell(key('model', name, 'aliases'), step.alias, seq)
  note('ZADD', key('model', name, 'moves'), seq, seq)
  local artifact = get(models.version_key(name, step.version)).artifact
  move_tag(name, step, artifact)
  local data = json(
    'model', text(name), 'alias', text(step.alias), 'version', step.version, 'before', step.before or 'null',
    'rolled_back', step.rolled_back and 'true' or 'false', 'by', maybe(by.by)
  )
  tell('alias_moved', by, data, artifacts.get(artifact).id, now)
  return seq
end

-- Moves the aliases that an attempt has moved by setting a unique tag on a version. `became` maps
-- artifacts to their ids on record.
function models.follow_tags(attempt, given, became, now)
  for _, it in ipairs(given) do
    local seq = it.unique and artifacts.find(became[it.id] or it.id)
    local versions, names = seq and versions_of(seq) or {}, {}
    for name in pairs(versions) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local last = models.last_move(name, it.tag)
      if not last or last.version ~= versions[name] then
        local step = {alias = it.tag, version = versions[name], before = last and last.version, back = last and last.seq}
        models.point(name, step, {attempt = attempt}, now)
      end
    end
  end
end
