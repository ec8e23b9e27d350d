-- Facts that actions record.

-- Returns the lists that have a fact.
local function lists(kind, run, name)
  return {key(kind, 'all'), key(kind, 'name', name), key(kind, 'run', run), key(kind, 'run', run, 'name', name)}
end

local function add(kind, run, fact)
  local seq = next_number(kind)
  fact.run = run
  set_cell(key(kind .. 's'), seq, cjson.encode(fact))
  for _, list in ipairs(lists(kind, run, fact.name)) do
    note('ZADD', list, seq, seq)
  end
  return seq
end

-- Removes a fact that is replaced. Returns what it was.
local function drop(kind, run, seq)
  local fact = cjson.decode(cell(key(kind .. 's'), seq))
  set_cell(key(kind .. 's'), seq, false)
  for _, list in ipairs(lists(kind, run, fact.name)) do
    note('ZREM', list, seq)
  end
  return fact
end

local function recorded(param)
  return key('runs', 'recorded', sized(param.name), param.value)
end

local function drop_param(run, seq)
  local old = drop('param', run, seq)
  if old.is_short then note('ZREM', recorded(old), run .. ':' .. seq) end
  return old
end

-- A value that is set again gets a new number, so it counts as new.
local function add_param(run, attempt, param)
  local last = key('attempt', attempt, 'params')
  local before = cell(last, param.name)
  if before then drop_param(run, before) end
  param.attempt = attempt
  local seq = add('param', run, param)
  set_cell(last, param.name, seq)
  if param.is_short then note('ZADD', recorded(param), run, run .. ':' .. seq) end
end

local function tagged(tag)
  return key('runs', 'tagged', sized(tag.name), tag.value)
end

local function drop_tag_of_run(run, seq)
  local old = drop('tag', run, seq)
  if old.is_short then note('ZREM', tagged(old), run) end
  return old
end

local function add_tag(run, tag)
  local last = key('run', run, 'tags')
  local before = cell(last, tag.name)
  if before then drop_tag_of_run(run, before) end
  set_cell(last, tag.name, add('tag', run, tag))
  note('ZADD', key('runs', 'tag', tag.name), run, run)
  if tag.is_short then note('ZADD', tagged(tag), run, run) end
end

-- Removes a fact for good.
local function forget_fact(kind, run, seq)
  if kind == 'metric' then
    drop(kind, run, seq)
  elseif kind == 'param' then
    local param = drop_param(run, seq)
    set_cell(key('attempt', param.attempt, 'params'), param.name, false)
  else
    note('ZREM', key('runs', 'tag', drop_tag_of_run(run, seq).name), run)
  end
end

-- Records metrics, params and tags of an active attempt. A repeat does nothing.
function methods.record_facts(args)
  local attempt = attempts.check(args.fence)
  attempts.must_be_at_work(attempt)
  local count = #args.metrics + #args.params + #args.tags
  if count == 0 or attempt.facts == args.id then return {} end
  set(key('attempt', attempt.seq), {facts = args.id})
  for _, metric in ipairs(args.metrics) do
    metric.attempt = attempt.seq
    add('metric', attempt.run, metric)
  end
  for _, param in ipairs(args.params) do
    add_param(attempt.run, attempt.seq, param)
  end
  for _, tag in ipairs(args.tags) do
    add_tag(attempt.run, tag)
  end
  local data = json('metrics', int(#args.metrics), 'params', int(#args.params), 'tags', int(#args.tags))
  attempts.emit(attempt, 'facts_recorded', data, args.now)
  return {}
end
