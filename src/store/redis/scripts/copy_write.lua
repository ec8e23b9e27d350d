-- Puts the records of another store on record, with every list that has them. Their fields are
-- named as they are here. Kinds come in the order in which they build on each other.

local fill = {}

-- Removes a field that is part of a key. Returns its value.
local function take(record, field)
  local value = record[field]
  record[field] = nil
  return value
end

-- Raises a counter to a number that it has given.
local function count_to(counter, number)
  if tonumber(newest_number(counter)) < tonumber(number) then set(meta, {[counter] = number}) end
end

local function add_to(list, number)
  note('ZADD', list, number, number)
end

fill.meta = function(it)
  set(meta, it)
end

function fill.revisions(it)
  local digest = take(it, 'digest')
  set(key('revision', digest), it)
  note('SADD', key('revisions'), digest)
end

-- Records that a path had a version.
local function had_version(resource, path, version)
  if artifacts.highest(resource, path) < tonumber(version) then
    set_cell(key('versions', resource), path, version)
  end
end

function fill.artifacts(it)
  local seq, resource, path = take(it, 'seq'), it.resource, it.path
  set(artifacts.key(seq), it)
  set_cell(key('artifact_ids'), it.id, seq)
  had_version(resource, path, it.version)
  if it.ended then
    note('ZADD', key('ended', resource), it.ended, seq)
  else
    set_cell(key('at', resource), path, seq)
    note('ZADD', key('paths', resource), 0, path)
  end
  note('SADD', key('resources'), resource)
  for _, list in ipairs({{'artifacts'}, {'artifacts', resource}, {'artifacts', resource, it.state}, {'path', path}}) do
    add_to(key(unpack(list)), seq)
  end
end

function fill.old_places(it)
  local resource, ended = take(it, 'resource'), take(it, 'ended')
  set(key('moved', resource, ended), it)
  add_to(key('moved', resource), ended)
  add_to(key('moves', it.artifact), ended)
  had_version(resource, it.path, it.version)
end

function fill.waiting(it)
  local resource = take(it, 'resource')
  set(key('waiting', resource), it)
  note('SADD', key('resources'), resource)
end

function fill.artifact_tags(it)
  local seq = it.artifact
  local known = artifacts.get(seq).tags
  local tags = known and cjson.decode(known) or {}
  tags[#tags + 1] = it.tag
  set(artifacts.key(seq), {tags = cjson.encode(tags)})
  add_to(key('tagged', it.resource, it.tag), seq)
  add_to(key('artifact_tag', it.tag), seq)
end

function fill.models(it)
  local name = take(it, 'name')
  it.newest = '0'
  set(models.key(name), it)
  note('ZADD', key('models'), 0, name)
end

function fill.model_versions(it)
  local name, version = take(it, 'model'), take(it, 'version')
  it.resource = nil
  set(models.version_key(name, version), it)
  if tonumber(get(models.key(name)).newest) < tonumber(version) then set(models.key(name), {newest = version}) end
  models.list(it.artifact, name, version)
end

function fill.alias_moves(it)
  local seq = take(it, 'seq')
  set(key('move', seq), it)
  add_to(key('model', it.model, 'moves'), seq)
  count_to('move', seq)
end

function fill.model_aliases(it)
  set_cell(key('model', it.model, 'aliases'), it.alias, it.move)
end

function fill.runs(it)
  local number = it.number
  it.given = cjson.encode({})
  set(runs.key(number), it)
  set_cell(key('run_ids'), it.id, number)
  add_to(key('runs'), number)
  add_to(key('runs', 'state', it.state), number)
  note('ZADD', key('runs', 'created'), it.created, number)
  if it.ended_seq then note('ZADD', key('runs', 'ended', it.state), it.ended_seq, number) end
  if it.duration then note('ZADD', key('runs', 'duration'), it.duration, string.format('%016d', number)) end
end

function fill.run_triggers(it)
  add_to(key('runs', 'trigger', it.name), it.run)
end

function fill.run_params(it)
  local known = runs.get(it.run).indexed
  local indexed = known and cjson.decode(known) or {}
  indexed[#indexed + 1] = {name = it.name, value = it.value}
  set(runs.key(it.run), {indexed = cjson.encode(indexed)})
  add_to(key('runs', 'given', sized(it.name), it.value), it.run)
end

function fill.claims(it)
  add_to(key('run', it.run, 'inputs'), artifacts.find(it.artifact))
end

function fill.given(it)
  local given = cjson.decode(runs.get(it.run).given)
  given[#given + 1] = artifacts.get(it.artifact).id
  table.sort(given)
  set(runs.key(it.run), {given = cjson.encode(given)})
  add_to(key('run', it.run, 'inputs'), it.artifact)
end

function fill.run_actions(it)
  local run, name = take(it, 'run'), take(it, 'name')
  it.skipped_rest = it.skipped_rest == '1'
  runs.set_action(run, name, it)
end

function fill.attempts(it)
  local seq, recording = it.seq, take(it, 'recording')
  if recording then note('SET', key('attempt', seq, 'recording'), recording) end
  set(key('attempt', seq), it)
  set_cell(key('attempt_ids'), it.id, seq)
  add_to(key('run', it.run, 'attempts'), seq)
  if not it.ended then set_cell(key('run', it.run, 'active'), it.action, seq) end
  if it.state == 'publishing' then add_to(key('intents'), seq) end
  count_to('attempt', seq)
end

function fill.intents(it)
  local file = {file = it.file, became = it.became, seq = artifacts.find(it.became), retrigger = it.retrigger == '1'}
  note('RPUSH', key('attempt', it.attempt, 'intent'), cjson.encode(file))
end

function fill.outputs(it)
  outputs.add(it, it.resource, it.path, it.artifact)
end

function fill.memories(it)
  local name = take(it, 'fingerprint') .. ' ' .. take(it, 'inputs')
  set(memories.key(name), it)
  set(key('attempt', it.attempt), {memory = name})
  memories.list(it.action, name, it.attempt)
end

function fill.accesses(it)
  note('HSET', key('accesses'), it.seq, table.concat({it.run, it.attempt, it.artifact, it.kind, it.bytes, it.calls}, ' '))
  add_to(key('run', it.run, 'accesses'), it.seq)
  add_to(key('uses', it.artifact), it.seq)
  count_to('access', it.seq)
end

-- What belongs to an attempt, in a list of numbers.
local function of_attempt(kind, counter, attempt, seq, text)
  note('HSET', key(kind), seq, text)
  note('RPUSH', key('attempt', attempt, kind), seq)
  count_to(counter, seq)
end

function fill.denials(it)
  local seq = take(it, 'seq')
  of_attempt('denials', 'denial', it.attempt, seq, cjson.encode(it))
end

function fill.requests(it)
  of_attempt('requests', 'request', it.attempt, it.seq, it.text)
end

local function fill_fact(kind, it)
  local seq = take(it, 'seq')
  set_cell(key(kind .. 's'), seq, cjson.encode(it))
  for _, list in ipairs(lists(kind, it.run, it.name)) do
    add_to(list, seq)
  end
  count_to(kind, seq)
  return seq
end

function fill.metrics(it)
  fill_fact('metric', it)
end

function fill.params(it)
  local seq = fill_fact('param', it)
  set_cell(key('attempt', it.attempt, 'params'), it.name, seq)
  if it.is_short then note('ZADD', recorded(it), it.run, it.run .. ':' .. seq) end
end

function fill.tags(it)
  set_cell(key('run', it.run, 'tags'), it.name, fill_fact('tag', it))
  add_to(key('runs', 'tag', it.name), it.run)
  if it.is_short then add_to(tagged(it), it.run) end
end

function fill.ticks(it)
  local seq = it.seq
  set_cell(key('ticks', 'last'), it.trigger, it.says)
  note('HSET', key('ticks'), seq, cjson.encode({trigger = it.trigger, text = it.text}))
  add_to(key('ticks', 'all'), seq)
  add_to(key('ticks', 'of', it.trigger), seq)
  count_to('tick', seq)
end

function fill.trigger_marks(it)
  set_marks({it})
end

function fill.events(it)
  local seq = take(it, 'seq')
  local command = {'XADD', key('events'), seq .. '-0'}
  for name, value in pairs(it) do
    command[#command + 1] = name
    command[#command + 1] = value
  end
  note(unpack(command))
  if it.r then add_to(key('events', it.r), seq) end
end

function fill.cursors(it)
  note('HSET', key('cursors'), it.resource, it.cursor)
  note('HSET', key('cursors', 'updated'), it.resource, it.updated)
end

function fill.notifications(it)
  local seq = take(it, 'seq')
  set(key('notification', seq), it)
  set_cell(key('notification_ids'), it.id, seq)
  for _, list in ipairs(notification_lists(it)) do
    add_to(list, seq)
  end
  if it.state == 'waiting' then add_to(key('notifications', 'waiting', it.name), seq) end
  count_to('notification', seq)
end

function fill.told_outages(it)
  note('HSET', key('outages'), sized(it.resource) .. it.name, cjson.encode({it.resource, it.name}))
end

function fill.paused_nodes(it)
  set_cell(key('paused'), it.kind .. ' ' .. it.name, cjson.encode(it))
end

function fill.approvals(it)
  local seq, asked = take(it, 'seq'), key('run', it.run, 'asked')
  set(key('approval', seq), it)
  set(asked, {[it.action] = seq})
  add_to(key('run', it.run, 'approvals'), seq)
  if it.open then add_to(key('approvals'), seq) end
  count_to('approval', seq)
end

-- Puts records of a kind on record, in the order of their numbers.
function methods.fill(args)
  for _, record in ipairs(args.records) do
    fill[args.kind](record)
  end
  return {}
end

-- Makes a store of what is on record.
function methods.complete(args)
  set(meta, {schema = args.schema, token = '0', link = '0'})
  note('DEL', key('copy'), key('lease'), key('host'))
  return {}
end
