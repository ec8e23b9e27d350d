-- Removes old runs.

-- Forgets the attempts of a run that is removed, or loses its details: their metrics and params
-- cannot be taken any more.
local function forget_memories(number)
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1)) do
    local attempt = get(key('attempt', seq))
    local memory = attempt.memory and get(memories.key(attempt.memory))
    if memory and memory.attempt == seq then memories.forget(attempt.action, attempt.memory) end
  end
end

-- Removes at most `limit` details of a run. Returns how many, by their kind.
local function remove_details(number, limit)
  local removed = {metrics = 0, params = 0, denials = 0, requests = 0}
  local function left()
    return limit - old_runs.details(removed)
  end
  for _, kind in ipairs({'metric', 'param'}) do
    if left() > 0 then
      for _, seq in ipairs(redis.call('ZRANGE', key(kind, 'run', number), 0, left() - 1)) do
        forget_fact(kind, number, seq)
        removed[kind .. 's'] = removed[kind .. 's'] + 1
      end
    end
  end
  for _, attempt in ipairs(redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1)) do
    for _, kind in ipairs({'denials', 'requests'}) do
      local list = key('attempt', attempt, kind)
      local seqs = left() > 0 and redis.call('LRANGE', list, 0, left() - 1) or {}
      for _, seq in ipairs(seqs) do
        note('HDEL', key(kind), seq)
      end
      note('LTRIM', list, #seqs, -1)
      removed[kind] = removed[kind] + #seqs
    end
  end
  return removed
end

local function remove_attempt(seq)
  local attempt = get(key('attempt', seq))
  note('HDEL', key('attempt_ids'), attempt.id)
  note('DEL', key('attempt', seq), key('attempt', seq, 'intent'), key('attempt', seq, 'params'),
    key('attempt', seq, 'recording'))
end

-- Removes a run from the lists by which filters find it.
local function leave_lists(run)
  local number = run.number
  for _, list in ipairs({{}, {'created'}, {'state', run.state}, {'ended', run.state}}) do
    note('ZREM', key('runs', unpack(list)), number)
  end
  note('ZREM', key('runs', 'duration'), string.format('%016d', number))
  for _, name in ipairs(cjson.decode(run.fired_by)) do
    note('ZREM', key('runs', 'trigger', name), number)
  end
end

-- Removes a run whose details are removed.
local function remove_rest(number)
  local run = runs.get(number)
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'accesses'), 0, -1)) do
    note('ZREM', key('uses', old_runs.access(seq).artifact), seq)
    note('HDEL', key('accesses'), seq)
  end
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1)) do
    remove_attempt(seq)
  end
  for _, seq in ipairs(redis.call('ZRANGE', key('tag', 'run', number), 0, -1)) do
    forget_fact('tag', number, seq)
  end
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'approvals'), 0, -1)) do
    note('ZREM', key('approvals'), seq)
    note('DEL', key('approval', seq))
  end
  for _, resource in ipairs(redis.call('SMEMBERS', key('run', number, 'published'))) do
    note('DEL', outputs.key(number, resource))
  end
  for _, param in ipairs(run.indexed and cjson.decode(run.indexed) or {}) do
    note('ZREM', key('runs', 'given', sized(param.name), param.value), number)
  end
  leave_lists(run)
  note('HDEL', key('run_ids'), run.id)
  for _, name in ipairs({'actions', 'asked', 'inputs', 'attempts', 'approvals', 'accesses', 'active', 'published', 'tags'}) do
    note('DEL', key('run', number, name))
  end
  note('DEL', runs.key(number))
end

local function add_to(sums, more)
  for name, count in pairs(more) do
    sums[name] = (sums[name] or 0) + count
  end
end

-- Removes runs in their order, until about `batch` records are removed. Returns how many of the
-- runs are done, and what was removed.
function methods.remove_runs(args)
  local floor, left, done, removed, gone = old_runs.floor(), tonumber(args.batch), 0, {}, {}
  local function is_gone(number)
    return gone[number]
  end
  for _, number in ipairs(args.runs) do
    if left <= 0 then break end
    local removal, count = old_runs.judge(args.keep, number, floor, is_gone)
    if removal then
      -- A run of which some details are gone says so.
      if not runs.get(number).trimmed then set(runs.key(number), {trimmed = args.now}) end
      forget_memories(number)
      local details = remove_details(number, left)
      add_to(removed, details)
      left = left - old_runs.details(details)
      if old_runs.details(count) > old_runs.details(details) then break end
      if removal == 'details' then
        add_to(removed, {trimmed = 1})
        left = left - 1
      else
        remove_rest(number)
        gone[tonumber(number)] = true
        add_to(removed, {runs = 1, attempts = count.attempts, accesses = count.accesses, tags = count.tags})
        left = left - 1 - count.attempts - count.accesses - count.tags
      end
    end
    done = done + 1
  end
  return {int(done), old_runs.row(removed)}
end
