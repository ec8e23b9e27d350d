-- Lists of runs and of attempts.

local function run_row(number)
  return row(runs.key(number), number)
end

local function attempt_row(seq)
  return row(key('attempt', seq), seq)
end

function methods.run_summary(args)
  local number = runs.find(args.id)
  return number and {run_row(number)} or {}
end

function methods.run_by_number(args)
  return {redis.call('HGET', runs.key(args.number), 'id') or nil}
end

function methods.run_progress(args)
  local number = args.number or runs.find(args.id)
  if not number then return {} end
  local all = {
    run_row(number), redis.call('HGETALL', key('run', number, 'actions')),
    rows(redis.call('ZRANGE', key('run', number, 'approvals'), 0, -1), function(seq) return row(key('approval', seq), seq) end),
    rows(redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1), attempt_row),
  }
  return all
end

-- What the unfinished attempts of a run have committed to publish, by attempt.
function methods.intents(args)
  local found = {}
  local number = runs.find(args.id)
  for _, seq in ipairs(number and redis.call('HVALS', key('run', number, 'active')) or {}) do
    local files = {}
    for at, file in ipairs(outputs.intent(seq)) do
      files[at] = {file.file, file.became}
    end
    found[#found + 1] = {get(key('attempt', seq)).id, files, attempt_row(seq)}
  end
  return found
end

local unfinished = {'queued', 'running', 'cancelling'}

-- The numbers of the runs that have not ended.
function methods.unfinished_runs()
  local found = {}
  for _, state in ipairs(unfinished) do
    for _, number in ipairs(redis.call('ZRANGE', key('runs', 'state', state), 0, -1)) do
      found[#found + 1] = number
    end
  end
  return found
end

-- The logs of every attempt of a run.
function methods.logs(args)
  return rows(redis.call('ZRANGE', key('run', args.run, 'attempts'), 0, -1), attempt_row)
end

function methods.count_runs(args)
  return {int(redis.call('ZCARD', key('runs', 'state', args.state)))}
end

function methods.run_inputs(args)
  local number = runs.find(args.id)
  if not number then return {} end
  return rows(after(key('run', number, 'inputs'), args), artifact_row)
end

function methods.count_inputs(args)
  local number = runs.find(args.id)
  return {number and int(redis.call('ZCARD', key('run', number, 'inputs'))) or '0'}
end

-- The lowest, or the highest, number of the runs near a time: more than one is looked at, because
-- setting the clock back breaks their order.
function methods.near(args)
  local list, numbers, best = key('runs', 'created')
  if args.since then
    numbers = redis.call('ZRANGEBYSCORE', list, args.since, '+inf', 'LIMIT', 0, MOST_LOOKED_AT)
  else
    numbers = redis.call('ZREVRANGEBYSCORE', list, '(' .. args['until'], '-inf', 'LIMIT', 0, MOST_LOOKED_AT)
  end
  for _, number in ipairs(numbers) do
    number = tonumber(number)
    local is_better = not best or (args.since and number < best) or (not args.since and number > best)
    if is_better then best = number end
  end
  return {best and int(best) or nil}
end

local function recorded_with(param)
  return key('runs', 'recorded', sized(param.name), param.value)
end

local function given_with(param)
  return key('runs', 'given', sized(param.name), param.value)
end

local function tag_list(tag)
  return tag.value and key('runs', 'tagged', sized(tag.name), tag.value) or key('runs', 'tag', tag.name)
end

-- The list that a range of runs is in the order of.
local function run_list(args)
  local range = args.range
  if range == 'duration' then return key('runs', 'duration') end
  if range == 'state' then return key('runs', 'state', args.in_state) end
  if range == 'trigger' then return key('runs', 'trigger', args.trigger) end
  if range == 'tag' then return tag_list(args.tag) end
  if range == 'given' then return given_with(args.param) end
  if range == 'recorded' then return recorded_with(args.param) end
  return key('runs')
end

local function is_in(list, member)
  return redis.call('ZSCORE', list, member)
end

local function is_one_of(value, all)
  for _, other in ipairs(all) do
    if value == other then return true end
  end
  return #all == 0
end

-- Returns whether a run fits every filter that is set.
local function fits(args, run)
  local number, created, param = run.number, tonumber(run.created), args.param
  return tonumber(number) >= tonumber(args.first) and tonumber(number) <= tonumber(args.last)
    and is_one_of(run.state, args.states)
    and (not args.since or created >= tonumber(args.since)) and (not args['until'] or created < tonumber(args['until']))
    and (not args.trigger or is_in(key('runs', 'trigger', args.trigger), number))
    and (not args.tag or is_in(tag_list(args.tag), number))
    and (not param or is_in(given_with(param), number)
      or (param.is_short and redis.call('ZCOUNT', recorded_with(param), number, number) > 0))
end

-- Returns the place in the list by duration of the first run that is not before a duration and a
-- number.
local function place(list, duration, number)
  local low = redis.call('ZCOUNT', list, '-inf', '(' .. duration)
  local high = low + redis.call('ZCOUNT', list, duration, duration)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', list, middle, middle)[1] < number then low = middle + 1 else high = middle end
  end
  return low
end

-- The next numbers of a list by duration, after a duration and a number.
local function next_by_duration(list, args)
  local number = string.format('%016d', args.number)
  local at = place(list, args.duration, number)
  if args.descends then
    return redis.call('ZREVRANGE', list, redis.call('ZCARD', list) - at, redis.call('ZCARD', list) - at + MOST_LOOKED_AT - 1)
  end
  -- The run itself is there, unless it was retried since.
  local is_there = redis.call('ZRANGE', list, at, at)[1] == number
  if is_there and tonumber(redis.call('ZSCORE', list, number)) == tonumber(args.duration) then at = at + 1 end
  return redis.call('ZRANGE', list, at, at + MOST_LOOKED_AT - 1)
end

local function next_by_number(list, args)
  if args.descends then
    return redis.call('ZREVRANGEBYSCORE', list, '(' .. args.below, '(' .. args.above, 'LIMIT', 0, MOST_LOOKED_AT)
  end
  return redis.call('ZRANGEBYSCORE', list, '(' .. args.above, '(' .. args.below, 'LIMIT', 0, MOST_LOOKED_AT)
end

-- At most `limit` runs of a range, in its order. Returns how many were looked at, and the last of
-- them, from which the caller goes on; nothing if the range has ended.
function methods.runs(args)
  local list, limit, found = run_list(args), tonumber(args.limit), {}
  local members = args.range == 'duration' and next_by_duration(list, args) or next_by_number(list, args)
  local last
  for at, member in ipairs(members) do
    local number = int(tonumber(string.match(member, '^%d+')))
    local run = runs.get(number)
    -- Several attempts of a run may have recorded the same param.
    if number ~= last and fits(args, run) then found[#found + 1] = run_row(number) end
    last = number
    if #found == limit or at == MOST_LOOKED_AT then return {found, {int(at), run.duration or '0', number}} end
  end
  return {found, {}}
end

function methods.ended_runs(args)
  local numbers = redis.call('ZREVRANGEBYSCORE', key('runs', 'ended', args.state), '(' .. args.before, '(' .. args.after,
    'LIMIT', 0, args.limit)
  return rows(numbers, run_row)
end

-- An access: its sequence, and what it is about; nil if it was removed with its run.
local function access(seq)
  local packed, text = {}, redis.call('HGET', key('accesses'), seq)
  if not text then return nil end
  for word in string.gmatch(text, '%S+') do
    packed[#packed + 1] = word
  end
  return {run = packed[1], attempt = packed[2], artifact = packed[3], kind = packed[4], bytes = packed[5]}
end

function methods.lineage(args)
  local number = runs.find(args.id)
  if not number then return {} end
  return rows(after(key('run', number, 'accesses'), args), function(seq)
    local it = access(seq)
    local attempt = get(key('attempt', it.attempt))
    return {seq, attempt.id, attempt.action, it.kind, it.bytes, artifact_row(it.artifact)}
  end)
end

local function use_row(seq)
  local it = access(seq)
  local attempt = get(key('attempt', it.attempt))
  return {seq, runs.get(it.run).id, it.run, attempt.id, attempt.action, attempt.number, it.kind, it.bytes}
end

function methods.uses(args)
  local artifact = artifacts.find(args.id)
  if not artifact then return {} end
  return rows(before(key('uses', artifact), args), use_row)
end

-- The use in which an action wrote an artifact. It is among the first ones, because nothing reads
-- an artifact before it is published.
function methods.writer(args)
  local artifact = artifacts.find(args.id)
  local by = artifact and artifacts.get(artifact).by
  for _, seq in ipairs(by and redis.call('ZRANGE', key('uses', artifact), 0, MOST_LOOKED_AT - 1) or {}) do
    local it = access(seq)
    if it.kind == 'wrote' and get(key('attempt', it.attempt)).id == by then return {use_row(seq)} end
  end
  return {}
end

-- What attempts did with a resource, by attempt and kind, in the accesses after `after`.
function methods.accesses(args)
  local sums, order = {}, {}
  for seq = tonumber(args.after) + 1, math.min(tonumber(args.after) + MOST_LOOKED_AT, tonumber(newest_number('access'))) do
    local it = access(int(seq))
    if it and artifacts.get(it.artifact).resource == args.resource then
      local name = it.attempt .. ' ' .. it.kind
      if not sums[name] then
        sums[name] = {attempt = it.attempt, kind = it.kind, count = 0, bytes = 0}
        order[#order + 1] = name
      end
      sums[name].count, sums[name].bytes = sums[name].count + 1, sums[name].bytes + tonumber(it.bytes)
    end
  end
  return rows(order, function(name)
    local sum = sums[name]
    return {sum.attempt, sum.kind, int(sum.count), int(sum.bytes)}
  end)
end

-- The denied calls on a resource after `after`.
function methods.denied(args)
  local found = {}
  for seq = tonumber(args.after) + 1, math.min(tonumber(args.after) + MOST_LOOKED_AT, tonumber(newest_number('denial'))) do
    local document = redis.call('HGET', key('denials'), int(seq))
    local denial = document and cjson.decode(document)
    if denial and denial.target == args.resource then
      found[#found + 1] = {denial.attempt, denial.call, denial.target, denial.message}
    end
  end
  return found
end

function methods.newest(args)
  return {newest_number(args.counter)}
end

-- Attempts by their sequences.
function methods.attempts(args)
  return rows(args.seqs, attempt_row)
end

-- The most runs whose attempts one call looks at.
local MOST_RUNS = 100

-- The attempts of an action in the run `from` and those before it, newest first, and before the
-- attempt `number` of the run `run`. Returns the run from which the caller goes on; '' if there is
-- none.
function methods.action_attempts(args)
  local found, limit, oldest = {}, tonumber(args.limit), tonumber(args.oldest)
  local from = math.min(tonumber(args.from), tonumber(newest_number('run')))
  local to = math.max(oldest + 1, from - MOST_RUNS + 1)
  for number = from, to, -1 do
    for _, seq in ipairs(redis.call('ZREVRANGE', key('run', int(number), 'attempts'), 0, -1)) do
      local attempt = get(key('attempt', seq))
      local is_before = number < tonumber(args.run) or tonumber(attempt.number) < tonumber(args.number)
      if attempt.action == args.action and is_before then
        found[#found + 1] = {runs.get(int(number)).id, attempt_row(seq)}
        if #found == limit then return {'', found} end
      end
    end
  end
  return {to > oldest + 1 and int(to - 1) or '', found}
end

-- The denied calls, or the requests, of every attempt of a run, attempt by attempt.
function methods.of_attempts(args)
  local number, attempts_of, found = runs.find(args.id), {}, {}
  for at, seq in ipairs(number and redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1) or {}) do
    attempts_of[at] = get(key('attempt', seq))
  end
  table.sort(attempts_of, function(one, other)
    if one.action ~= other.action then return one.action < other.action end
    return tonumber(one.number) < tonumber(other.number)
  end)
  for _, attempt in ipairs(attempts_of) do
    for _, seq in ipairs(redis.call('LRANGE', key('attempt', attempt.seq, args.what), 0, -1)) do
      found[#found + 1] = {attempt.id, redis.call('HGET', key(args.what), seq)}
    end
  end
  return found
end

-- What an attempt that has succeeded was told.
function methods.recording(args)
  local seq = cell(key('attempt_ids'), args.id)
  local attempt = seq and get(key('attempt', seq))
  if not attempt or attempt.state ~= 'succeeded' then return {} end
  local told = redis.call('GET', key('attempt', seq, 'recording'))
  return told and {told} or {}
end

-- How many memories are looked at together.
local MEMORIES = 100

-- Returns a memory with the attempt that has the result, and the run in which the work was done;
-- nil if there is no result to take.
local function remembered(name, action)
  local memory = get(memories.key(name))
  local attempt = memory and memory.action == action and get(key('attempt', memory.attempt))
  if not memories.has_result(attempt) then return nil end
  local worker = attempt.cached_from and cell(key('attempt_ids'), attempt.cached_from)
  local run = worker and get(key('attempt', worker)).run or attempt.run
  local row = {'memory', memory.memory, 'id', attempt.id, 'run', run}
  if attempt.message then
    row[#row + 1] = 'message'
    row[#row + 1] = attempt.message
  end
  return row
end

-- The attempts of an action that are remembered: first the one with this name, then the newest.
function methods.remembered(args)
  local limit, exact = tonumber(args.limit), remembered(args.name, args.action)
  local found, at = {exact}, 0
  while true do
    local names = redis.call('ZREVRANGE', key('memories', args.action), at, at + MEMORIES - 1)
    for _, name in ipairs(names) do
      if #found >= limit then return found end
      if name ~= args.name then found[#found + 1] = remembered(name, args.action) end
    end
    if #names < MEMORIES then return found end
    at = at + MEMORIES
  end
end
