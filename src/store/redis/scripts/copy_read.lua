-- Records in pages, as a copy of the store needs them. A page has at least `PAGE` records, or as
-- many as there are; so it holds up the server's other clients only for milliseconds.

local PAGE = 1000

-- Adds a record: names and values.
local function add_row(found, ...)
  found[#found + 1] = {...}
end

-- Adds a record that is a hash, if there is one, and what its key says.
local function add_hash(found, name, ...)
  local flat = redis.call('HGETALL', name)
  if #flat == 0 then return end
  for _, it in ipairs({...}) do
    flat[#flat + 1] = it
  end
  found[#found + 1] = flat
end

-- Adds a record that is JSON.
local function add_document(found, document, ...)
  local flat = {...}
  for name, value in pairs(cjson.decode(document)) do
    if type(value) == 'boolean' then value = value and '1' or '0' end
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  found[#found + 1] = flat
end

-- A page of what `add` finds for each number of a list. Returns the number after which the next
-- page goes on, '' if there is none, and the records.
local function by_list(list, after, add)
  local found = {}
  local numbers = redis.call('ZRANGEBYSCORE', list, '(' .. after, '+inf', 'LIMIT', 0, PAGE)
  for _, number in ipairs(numbers) do
    add(found, number)
    if #found >= PAGE then return number, found end
  end
  return #numbers == PAGE and numbers[#numbers] or '', found
end

-- The same for every number that a counter has given.
local function by_counter(counter, after, add)
  local found, newest = {}, tonumber(newest_number(counter))
  local last = math.min(tonumber(after) + PAGE, newest)
  for number = tonumber(after) + 1, last do
    add(found, int(number))
    if #found >= PAGE then return int(number), found end
  end
  return last < newest and int(last) or '', found
end

local function by_artifact(after, add)
  return by_list(key('artifacts'), after, add)
end

local function by_run(after, add)
  return by_list(key('runs'), after, add)
end

-- A page of what `add` finds for one model. Its place is how many models come before it.
local function by_model(after, add)
  local name = redis.call('ZRANGE', key('models'), after, after)[1]
  if not name then return '', {} end
  local found = {}
  add(found, name)
  return int(tonumber(after) + 1), found
end

local pages = {}

function pages.meta()
  local found = {}
  add_hash(found, meta)
  return '', found
end

-- Manifests are long, so they come one by one, by their digests.
function pages.revisions(after)
  local digests, found = redis.call('SMEMBERS', key('revisions')), {}
  table.sort(digests)
  for _, digest in ipairs(digests) do
    if digest > after then
      add_hash(found, key('revision', digest), 'digest', digest)
      return digest, found
    end
  end
  return '', found
end

function pages.artifacts(after)
  return by_artifact(after, function(found, seq)
    add_hash(found, artifacts.key(seq), 'seq', seq)
  end)
end

function pages.old_places(after)
  return by_artifact(after, function(found, seq)
    for _, ended in ipairs(redis.call('ZRANGE', key('moves', seq), 0, -1)) do
      local resource = artifacts.get(seq).resource
      add_hash(found, key('moved', resource, ended), 'resource', resource, 'ended', ended)
    end
  end)
end

function pages.waiting()
  local found = {}
  for _, resource in ipairs(redis.call('SMEMBERS', key('resources'))) do
    add_hash(found, key('waiting', resource), 'resource', resource)
  end
  return '', found
end

function pages.artifact_tags(after)
  return by_artifact(after, function(found, seq)
    local artifact = artifacts.get(seq)
    for _, tag in ipairs(artifact.tags and cjson.decode(artifact.tags) or {}) do
      add_row(found, 'tag', tag, 'artifact', seq, 'resource', artifact.resource)
    end
  end)
end

function pages.models(after)
  return by_model(after, function(found, name)
    add_hash(found, models.key(name), 'name', name)
  end)
end

function pages.model_versions(after)
  return by_model(after, function(found, name)
    for version = 1, tonumber(get(models.key(name)).newest) do
      local at = models.version_key(name, int(version))
      local resource = artifacts.get(get(at).artifact).resource
      add_hash(found, at, 'model', name, 'version', int(version), 'resource', resource)
    end
  end)
end

function pages.alias_moves(after)
  return by_counter('move', after, function(found, seq)
    add_hash(found, key('move', seq), 'seq', seq)
  end)
end

function pages.model_aliases(after)
  return by_model(after, function(found, name)
    for alias, move in pairs(get(key('model', name, 'aliases')) or {}) do
      add_row(found, 'model', name, 'alias', alias, 'move', move)
    end
  end)
end

function pages.runs(after)
  return by_run(after, function(found, number)
    add_hash(found, runs.key(number))
  end)
end

function pages.run_triggers(after)
  return by_run(after, function(found, number)
    local seen = {}
    for _, name in ipairs(cjson.decode(runs.get(number).fired_by)) do
      if not seen[name] then add_row(found, 'name', name, 'run', number) end
      seen[name] = true
    end
  end)
end

function pages.run_params(after)
  return by_run(after, function(found, number)
    local indexed = runs.get(number).indexed
    for _, param in ipairs(indexed and cjson.decode(indexed) or {}) do
      add_row(found, 'name', param.name, 'value', param.value, 'run', number)
    end
  end)
end

function pages.claims(after)
  return by_run(after, function(found, number)
    local id = runs.get(number).id
    for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'inputs'), 0, -1)) do
      local artifact = redis.call('HMGET', artifacts.key(seq), 'id', 'run')
      if artifact[2] == id then add_row(found, 'artifact', artifact[1], 'run', number) end
    end
  end)
end

function pages.given(after)
  return by_run(after, function(found, number)
    local seen = {}
    for _, id in ipairs(cjson.decode(runs.get(number).given)) do
      if not seen[id] then add_row(found, 'run', number, 'artifact', artifacts.find(id)) end
      seen[id] = true
    end
  end)
end

function pages.run_actions(after)
  return by_run(after, function(found, number)
    for name, document in pairs(get(key('run', number, 'actions')) or {}) do
      add_document(found, document, 'run', number, 'name', name)
    end
  end)
end

function pages.attempts(after)
  return by_counter('attempt', after, function(found, seq)
    local recording = redis.call('GET', key('attempt', seq, 'recording'))
    if recording then
      add_hash(found, key('attempt', seq), 'recording', recording)
    else
      add_hash(found, key('attempt', seq))
    end
  end)
end

function pages.intents(after)
  return by_list(key('intents'), after, function(found, attempt)
    for at, file in ipairs(outputs.intent(attempt)) do
      local retrigger = file.retrigger and '1' or '0'
      add_row(found, 'attempt', attempt, 'position', int(at - 1), 'file', file.file, 'became', file.became, 'retrigger', retrigger)
    end
  end)
end

function pages.outputs(after)
  return by_run(after, function(found, number)
    for _, resource in ipairs(redis.call('SMEMBERS', key('run', number, 'published'))) do
      for _, member in ipairs(redis.call('ZRANGE', outputs.key(number, resource), 0, -1)) do
        local path, seq, action = outputs.parts(member)
        add_row(found, 'run', number, 'resource', resource, 'path', path, 'artifact', seq, 'action', action)
      end
    end
  end)
end

function pages.memories(after)
  local found, last = {}, nil
  local names = redis.call('ZRANGEBYSCORE', key('memories'), '(' .. after, '+inf', 'LIMIT', 0, PAGE)
  for _, name in ipairs(names) do
    local fingerprint, inputs = string.match(name, '^(%S+) (%S+)$')
    add_hash(found, memories.key(name), 'fingerprint', fingerprint, 'inputs', inputs)
    last = get(memories.key(name)).attempt
  end
  return #names == PAGE and last or '', found
end

function pages.accesses(after)
  return by_counter('access', after, function(found, seq)
    local packed = redis.call('HGET', key('accesses'), seq)
    if not packed then return end
    local run, attempt, artifact, kind, bytes, calls = string.match(packed, '^(%d+) (%d+) (%d+) (%a+) (%d+) (%d+)$')
    add_row(found, 'seq', seq, 'run', run, 'attempt', attempt, 'artifact', artifact, 'kind', kind, 'bytes', bytes, 'calls', calls)
  end)
end

function pages.denials(after)
  return by_counter('denial', after, function(found, seq)
    local document = redis.call('HGET', key('denials'), seq)
    if document then add_document(found, document, 'seq', seq) end
  end)
end

function pages.requests(after)
  return by_counter('attempt', after, function(found, attempt)
    for _, seq in ipairs(redis.call('LRANGE', key('attempt', attempt, 'requests'), 0, -1)) do
      add_row(found, 'seq', seq, 'attempt', attempt, 'text', redis.call('HGET', key('requests'), seq))
    end
  end)
end

for kind, name in pairs({metrics = 'metric', params = 'param', tags = 'tag'}) do
  pages[kind] = function(after)
    return by_list(key(name, 'all'), after, function(found, seq)
      add_document(found, redis.call('HGET', key(kind), seq), 'seq', seq)
    end)
  end
end

function pages.ticks(after)
  return by_list(key('ticks', 'all'), after, function(found, seq)
    local tick = cjson.decode(redis.call('HGET', key('ticks'), seq))
    add_row(found, 'seq', seq, 'trigger', tick.trigger, 'text', tick.text)
  end)
end

-- The values of a hash, each of which is a record.
local function by_value(name, add)
  local found = {}
  for _, value in ipairs(redis.call('HVALS', name)) do
    add(found, value)
  end
  return '', found
end

function pages.trigger_marks()
  return by_value(key('marks'), function(found, text)
    local mark = cjson.decode(text)
    add_row(found, 'trigger', mark[1], 'condition', mark[2], 'text', text)
  end)
end

function pages.events(after)
  local found, last = {}, nil
  for _, entry in ipairs(redis.call('XRANGE', key('events'), '(' .. after .. '-0', '+', 'COUNT', PAGE)) do
    local flat = entry[2]
    last = string.match(entry[1], '^%d+')
    flat[#flat + 1] = 'seq'
    flat[#flat + 1] = last
    found[#found + 1] = flat
  end
  return #found == PAGE and last or '', found
end

function pages.cursors()
  local found = {}
  for resource, cursor in pairs(get(key('cursors')) or {}) do
    add_row(found, 'resource', resource, 'cursor', cursor, 'updated', redis.call('HGET', key('cursors', 'updated'), resource))
  end
  return '', found
end

function pages.notifications(after)
  return by_list(key('notifications'), after, function(found, seq)
    add_hash(found, key('notification', seq), 'seq', seq)
  end)
end

function pages.told_outages()
  return by_value(key('outages'), function(found, document)
    local told = cjson.decode(document)
    add_row(found, 'resource', told[1], 'name', told[2])
  end)
end

function pages.paused_nodes()
  return by_value(key('paused'), function(found, document)
    add_document(found, document)
  end)
end

function pages.approvals(after)
  return by_counter('approval', after, function(found, seq)
    add_hash(found, key('approval', seq), 'seq', seq)
  end)
end

-- Returns a page of the records of a kind, after a place: the place after which the next one goes
-- on, '' if there is none, and the records, or only how many.
function methods.page(args)
  local last, found = pages[args.kind](args.after)
  return {last, args.only_count and int(#found) or found}
end
