-- Which runs are removed. They are judged when they are listed, and again when they are removed.

local old_runs = {}

-- How many readers of an artifact are looked at together.
local READERS = 100

-- Returns a function that tells whether a number is in one of these ranges, which are in order.
local function in_ranges(ranges)
  return function(number)
    local first, last = 1, #ranges
    while first <= last do
      local middle = math.floor((first + last) / 2)
      local range = ranges[middle]
      if number < tonumber(range[1]) then
        last = middle - 1
      elseif number > tonumber(range[2]) then
        first = middle + 1
      else
        return true
      end
    end
    return false
  end
end

-- Returns run, attempt, artifact and kind of a read or write.
function old_runs.access(seq)
  local run, attempt, artifact, kind = string.match(cell(key('accesses'), seq), '^(%d+) (%d+) (%d+) (%a+)')
  return {run = run, attempt = attempt, artifact = artifact, kind = kind}
end

-- Returns the artifacts that a run has written itself. What a cached attempt has written was
-- written by another run, which its lineage leads through.
local function written_by(number)
  local found = {}
  for _, seq in ipairs(redis.call('ZRANGE', key('run', number, 'accesses'), 0, -1)) do
    local access = old_runs.access(seq)
    if access.kind == 'wrote' and not get(key('attempt', access.attempt)).cached_from then
      found[#found + 1] = access.artifact
    end
  end
  return found
end

-- Returns the oldest snapshot that an unfinished run may still read from.
function old_runs.floor()
  local oldest = math.huge
  for _, state in ipairs({'queued', 'running', 'cancelling'}) do
    local number = redis.call('ZRANGE', key('runs', 'state', state), 0, 0)[1]
    if number then oldest = math.min(oldest, tonumber(runs.get(number).snapshot)) end
  end
  return oldest
end

-- Returns whether a run, or an artifact that it wrote, has one of these tags.
local function has_kept_tag(number, tags)
  for _, tag in ipairs(tags) do
    local seq = cell(key('run', number, 'tags'), tag.name)
    if seq and (not tag.value or cjson.decode(cell(key('tags'), seq)).value == tag.value) then return true end
  end
  if #tags == 0 then return false end
  for _, artifact in ipairs(written_by(number)) do
    for _, tag in ipairs(tags) do
      if redis.call('ZSCORE', key('artifact_tag', tag.whole), artifact) then return true end
    end
  end
  return false
end

-- Returns whether an artifact that a run has written is a version of a model.
local function has_version(number)
  for _, artifact in ipairs(written_by(number)) do
    if cell(key('registered'), artifact) then return true end
  end
  return false
end

-- Returns whether another run that is on record has read an artifact.
local function is_read_elsewhere(artifact, number, is_gone)
  local uses, at = key('uses', artifact), 0
  while true do
    local seqs = redis.call('ZREVRANGE', uses, at, at + READERS - 1)
    for _, seq in ipairs(seqs) do
      local access = old_runs.access(seq)
      if access.kind == 'read' and access.run ~= number and not is_gone(tonumber(access.run)) then return true end
    end
    if #seqs < READERS then return false end
    at = at + READERS
  end
end

-- Returns whether something that a run wrote is at its path, may still be read by an unfinished
-- run, or was read by another run that is on record.
local function leads_to_something(number, floor, is_gone)
  for _, seq in ipairs(written_by(number)) do
    local artifact = artifacts.get(seq)
    if artifact.state ~= 'not_taken' then
      if not artifact.ended or tonumber(artifact.ended) > floor then return true end
      if is_read_elsewhere(seq, number, is_gone) then return true end
    end
  end
  return false
end

-- Returns how many records are removed with a run, by their kind.
function old_runs.count(number)
  local found = {denials = 0, requests = 0}
  for name, list in pairs({metrics = 'metric', params = 'param', tags = 'tag'}) do
    found[name] = redis.call('ZCARD', key(list, 'run', number))
  end
  for name, list in pairs({attempts = 'attempts', accesses = 'accesses'}) do
    found[name] = redis.call('ZCARD', key('run', number, list))
  end
  for _, attempt in ipairs(redis.call('ZRANGE', key('run', number, 'attempts'), 0, -1)) do
    for _, name in ipairs({'denials', 'requests'}) do
      found[name] = found[name] + redis.call('LLEN', key('attempt', attempt, name))
    end
  end
  return found
end

function old_runs.details(count)
  return count.metrics + count.params + count.denials + count.requests
end

-- Returns how a run is to be removed, `whole` or `details`, and what is removed with it; nil if it
-- is kept, or is not there.
function old_runs.judge(keep, number, floor, is_gone)
  local run = runs.get(number)
  if not run or not has_ended[run.state] or keep.everything then return nil end
  if keep.ended_since and tonumber(run.ended) >= tonumber(keep.ended_since) then return nil end
  if keep.told_until and tonumber(run.ended_seq) > tonumber(keep.told_until) then return nil end
  for _, id in ipairs(keep.runs) do
    if id == run.id then return nil end
  end
  if has_kept_tag(number, keep.tags) or has_version(number) then return nil end
  local count = old_runs.count(number)
  if not leads_to_something(number, floor, is_gone) then return 'whole', count end
  if not run.trimmed or old_runs.details(count) > 0 then return 'details', count end
end

-- Returns the number below which runs may be old; nil if all are kept.
local function first_below(keep)
  local below = math.huge
  if keep.newest then
    local at = math.max(tonumber(keep.newest) - 1, 0)
    local kept = redis.call('ZREVRANGE', key('runs'), int(at), int(at))[1]
    if not kept then return nil end
    below = tonumber(kept)
  end
  if keep.ended_since then
    -- What ended before was created before.
    local since = '(' .. keep.ended_since
    local last = redis.call('ZREVRANGEBYSCORE', key('runs', 'created'), since, '-inf', 'LIMIT', 0, 1)[1]
    if not last then return nil end
    below = math.min(below, tonumber(last) + 1)
  end
  if below < math.huge then return int(below) end
end

-- Lists old runs below a number: the number below which the next ones are, and for each run how it
-- is removed, and what is removed with it.
function methods.old_runs(args)
  local below = args.below or first_below(args.keep)
  if not below then return {'', {}} end
  local numbers = redis.call('ZREVRANGEBYSCORE', key('runs'), '(' .. below, '-inf', 'LIMIT', 0, args.limit)
  local floor, is_gone, here, found = old_runs.floor(), in_ranges(args.gone), {}, {}
  local function counts_as_gone(number)
    return here[number] or is_gone(number)
  end
  for _, number in ipairs(numbers) do
    local removal, count = old_runs.judge(args.keep, number, floor, counts_as_gone)
    if removal then
      if removal == 'whole' then here[tonumber(number)] = true end
      found[#found + 1] = {number, removal, old_runs.row(count)}
    end
  end
  local is_full = #numbers == tonumber(args.limit)
  return {is_full and numbers[#numbers] or '', found}
end

-- Returns counts as a record.
function old_runs.row(count)
  local row = {}
  for name, number in pairs(count) do
    row[#row + 1] = name
    row[#row + 1] = int(number)
  end
  return row
end
