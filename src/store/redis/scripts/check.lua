-- Looks for records that contradict each other, in bounded parts. Each method counts what it finds,
-- by the name that the host has for it, and returns the number from which the host goes on; '' if
-- there is none.

local MOST_RUNS_CHECKED = 100

local function counter()
  local found = {}
  return found, function(what)
    found[what] = (found[what] or 0) + 1
  end
end

-- Returns what was counted as a list of names and numbers.
local function listed(found)
  local list = {}
  for what, count in pairs(found) do
    list[#list + 1] = what
    list[#list + 1] = int(count)
  end
  return list
end

local function check_inputs(run, number, wrong)
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'inputs'), 0, -1)) do
    local artifact = artifacts.get(seq)
    if not artifact then
      wrong('claims_without_artifact')
    elseif artifact.run == run.id and artifact.state == 'new' then
      wrong('claimed_and_new')
    end
  end
end

local function check_run(number, wrong)
  local run = runs.get(number)
  if not run then return wrong('listed_runs_missing') end
  if not redis.call('ZSCORE', key('runs', 'state', run.state), number) then wrong('runs_not_in_list') end
  if has_ended[run.state] and redis.call('HLEN', key('run', number, 'active')) > 0 then wrong('attempts_not_ended') end
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1)) do
    local attempt = get(key('attempt', seq))
    if not attempt or attempt.run ~= number then wrong('attempts_without_run') end
  end
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'accesses'), 0, -1)) do
    if not redis.call('HGET', key('accesses'), seq) then wrong('accesses_missing') end
  end
  check_inputs(run, number, wrong)
end

function methods.check_runs(args)
  local found, wrong = counter()
  local numbers = redis.call('ZRANGEBYSCORE', key('runs'), '(' .. args.after, '+inf', 'LIMIT', 0, MOST_RUNS_CHECKED)
  for _, number in ipairs(numbers) do
    check_run(number, wrong)
  end
  return {#numbers == MOST_RUNS_CHECKED and numbers[#numbers] or '', listed(found)}
end

function methods.check_artifacts(args)
  local found, wrong = counter()
  local seqs = redis.call('ZRANGEBYSCORE', key('artifacts'), '(' .. args.after, '+inf', 'LIMIT', 0, MOST_LOOKED_AT)
  for _, seq in ipairs(seqs) do
    local artifact = artifacts.get(seq)
    if not artifact then
      wrong('listed_artifacts_missing')
    else
      local list = key('artifacts', artifact.resource, artifact.state)
      if not redis.call('ZSCORE', list, seq) then wrong('artifacts_not_in_list') end
      if not artifact.ended and cell(key('at', artifact.resource), artifact.path) ~= seq then wrong('artifacts_not_at_path') end
    end
  end
  return {#seqs == MOST_LOOKED_AT and seqs[#seqs] or '', listed(found)}
end

function methods.check_memories(args)
  local found, wrong = counter()
  local last = ''
  local names = redis.call('ZRANGE', key('memories'), int(tonumber(args.after)), int(tonumber(args.after) + MOST_LOOKED_AT - 1))
  for _, name in ipairs(names) do
    local memory = get(memories.key(name))
    if not memory or not get(key('attempt', memory.attempt)) then wrong('memories_without_attempt') end
  end
  if #names == MOST_LOOKED_AT then last = int(tonumber(args.after) + MOST_LOOKED_AT) end
  return {last, listed(found)}
end

-- The counters of pending artifacts, and the numbers of events.
function methods.check_counters()
  local found, wrong = counter()
  for _, resource in ipairs(redis.call('SMEMBERS', key('resources'))) do
    local waiting = get(key('waiting', resource)) or {}
    local new = redis.call('ZCARD', key('artifacts', resource, 'new'))
    if tonumber(waiting.count or 0) ~= new then wrong('waiting_wrong') end
  end
  local first = redis.call('XRANGE', key('events'), '-', '+', 'COUNT', 1)[1]
  local count = redis.call('XLEN', key('events'))
  local wanted = first and tonumber(newest_number('event')) - tonumber(string.match(first[1], '^%d+')) + 1 or 0
  for _ = count + 1, wanted do
    wrong('events_missing')
  end
  return {'', listed(found)}
end

-- How many records each part has.
function methods.counts()
  return {
    'runs', int(redis.call('ZCARD', key('runs'))), 'attempts', int(redis.call('HLEN', key('attempt_ids'))),
    'artifacts', int(redis.call('ZCARD', key('artifacts'))), 'accesses', int(redis.call('HLEN', key('accesses'))),
    'metrics', int(redis.call('HLEN', key('metrics'))), 'params', int(redis.call('HLEN', key('params'))),
    'tags', int(redis.call('HLEN', key('tags'))), 'ticks', int(redis.call('ZCARD', key('ticks', 'all'))),
    'memories', int(redis.call('ZCARD', key('memories'))), 'denials', int(redis.call('HLEN', key('denials'))), 'requests', int(redis.call('HLEN', key('requests'))),
    'events', int(redis.call('XLEN', key('events'))), 'notifications', int(redis.call('ZCARD', key('notifications'))),
  }
end
