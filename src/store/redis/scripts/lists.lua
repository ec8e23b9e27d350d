-- Lists, in pages. A script holds up every other client of the server, so one call looks at a
-- bounded number of records; the host calls again until its page is full.

-- The most records that one call looks at.
local MOST_LOOKED_AT = 1000

-- Returns the names and values of a hash, with its sequence.
local function row(name, seq)
  local flat = redis.call('HGETALL', name)
  flat[#flat + 1] = 'seq'
  flat[#flat + 1] = seq
  return flat
end

local function artifact_row(seq)
  return row(artifacts.key(seq), seq)
end

local function rows(seqs, make)
  local found = {}
  for at, seq in ipairs(seqs) do
    found[at] = make(seq)
  end
  return found
end

-- Returns the numbers of a list after one, oldest first.
local function after(list, args)
  return redis.call('ZRANGEBYSCORE', list, '(' .. args.after, '+inf', 'LIMIT', 0, args.limit)
end

-- Returns the numbers of a list before one, newest first.
local function before(list, args)
  return redis.call('ZREVRANGEBYSCORE', list, '(' .. args.before, '-inf', 'LIMIT', 0, args.limit)
end

-- Returns at most `limit` rows of a list before a number, newest first, and the number from which
-- the caller goes on; '' if the list has ended. `make` returns nothing for what does not fit.
local function walk(list, args, make)
  local limit, found = tonumber(args.limit), {}
  local looked_at = redis.call('ZREVRANGEBYSCORE', list, '(' .. args.before, '-inf', 'LIMIT', 0, MOST_LOOKED_AT)
  for at, seq in ipairs(looked_at) do
    found[#found + 1] = make(seq)
    if #found == limit then return {at == #looked_at and #looked_at < MOST_LOOKED_AT and '' or seq, found} end
  end
  return {#looked_at == MOST_LOOKED_AT and looked_at[#looked_at] or '', found}
end

function methods.artifact(args)
  local seq = artifacts.find(args.id)
  return seq and {artifact_row(seq)} or {}
end

function methods.pending(args)
  return artifacts.pending(args.resource)
end

-- The pending artifacts of a resource, oldest first.
function methods.pending_artifacts(args)
  return rows(after(key('artifacts', args.resource, 'new'), args), artifact_row)
end

-- The versions at the paths of a resource from one path up to another, by path. Returns the path
-- after which the caller goes on; '' if there is none. With `at`, only what was there at that
-- sequence.
function methods.at_paths(args)
  local found, limit = {}, tonumber(args.limit)
  local list, at = key('paths', args.resource), tonumber(args.at or 'inf')
  local paths = redis.call('ZRANGEBYLEX', list, args.from, args.to or '+', 'LIMIT', 0, MOST_LOOKED_AT)
  for place, path in ipairs(paths) do
    local seq = cell(key('at', args.resource), path)
    local artifact = artifacts.get(seq)
    if tonumber(artifact.placed) <= at and (args.with_ignored or artifact.state ~= 'ignored') then
      found[#found + 1] = artifact_row(seq)
    end
    if #found == limit then return {(place < #paths or #paths == MOST_LOOKED_AT) and path or '', found} end
  end
  return {#paths == MOST_LOOKED_AT and paths[#paths] or '', found}
end

-- What has left its path after a sequence. Returns the sequence from which the caller goes on.
function methods.ended_since(args)
  local found = {}
  local ended = redis.call('ZRANGEBYSCORE', key('ended', args.resource), '(' .. args.since, '+inf', 'LIMIT', 0, MOST_LOOKED_AT)
  local last
  for _, seq in ipairs(ended) do
    local artifact = artifacts.get(seq)
    last = artifact.ended
    if tonumber(artifact.placed) <= tonumber(args.at) and artifact.state ~= 'ignored' then
      found[#found + 1] = artifact_row(seq)
    end
  end
  return {#ended == MOST_LOOKED_AT and last or '', found}
end

-- What was renamed after a sequence, under its old path. Returns the sequence from which the caller
-- goes on.
function methods.moved_since(args)
  local found = {}
  local moved = redis.call('ZRANGEBYSCORE', key('moved', args.resource), '(' .. args.since, '+inf', 'LIMIT', 0, MOST_LOOKED_AT)
  for _, at in ipairs(moved) do
    local move = get(key('moved', args.resource, at))
    if tonumber(move.placed) <= tonumber(args.at) and artifacts.get(move.artifact).state ~= 'ignored' then
      found[#found + 1] = {move.path, move.version, artifact_row(move.artifact)}
    end
  end
  return {#moved == MOST_LOOKED_AT and moved[#moved] or '', found}
end

-- The path at which an artifact was at a sequence.
function methods.path_then(args)
  local seq, at = artifacts.find(args.artifact), tonumber(args.at)
  local artifact = seq and artifacts.get(seq)
  if not artifact or artifact.resource ~= args.resource then return {} end
  if tonumber(artifact.placed) <= at then return {artifact.path} end
  for _, ended in ipairs(redis.call('ZRANGEBYSCORE', key('moves', seq), '(' .. args.at, '+inf')) do
    local move = get(key('moved', args.resource, ended))
    if tonumber(move.placed) <= at then return {move.path} end
  end
  return {}
end

-- What a run has published to a resource, by path, after one such record. Each has path, action and
-- artifact. Returns the record after which the caller goes on.
function methods.outputs(args)
  local found = {}
  local list = outputs.key(args.run, args.resource)
  local members = redis.call('ZRANGEBYLEX', list, args.from, args.to or '+', 'LIMIT', 0, MOST_LOOKED_AT)
  for at, member in ipairs(members) do
    local path, seq, action = outputs.parts(member)
    found[at] = {path, action, artifact_row(seq)}
  end
  return {#members == MOST_LOOKED_AT and members[#members] or '', found}
end

function methods.open_intents()
  local found = {}
  for _, attempt in ipairs(redis.call('ZRANGE', key('intents'), 0, -1)) do
    for _, file in ipairs(outputs.intent(attempt)) do
      found[#found + 1] = {get(key('attempt', attempt)).id, file.file}
    end
  end
  return found
end

-- The list that has the fewest artifacts of those that fit a query.
local function artifact_list(args, run)
  if run then return key('run', run, 'inputs') end
  if args.tag then
    return args.resource and key('tagged', args.resource, args.tag) or key('artifact_tag', args.tag)
  end
  if args.path then return key('path', args.path) end
  if args.resource then
    return args.state and key('artifacts', args.resource, args.state) or key('artifacts', args.resource)
  end
  return key('artifacts')
end

local function has_tag(artifact, tag)
  for _, other in ipairs(artifact.tags and cjson.decode(artifact.tags) or {}) do
    if other == tag then return true end
  end
  return false
end

-- The artifacts in a state in every resource, newest first: one list for each resource, merged.
local function in_state(args)
  local seqs, limit = {}, tonumber(args.limit)
  for _, resource in ipairs(redis.call('SMEMBERS', key('resources'))) do
    for _, seq in ipairs(before(key('artifacts', resource, args.state), args)) do
      seqs[#seqs + 1] = seq
    end
  end
  table.sort(seqs, function(one, other) return tonumber(one) > tonumber(other) end)
  for at = #seqs, limit + 1, -1 do
    seqs[at] = nil
  end
  return {'', rows(seqs, artifact_row)}
end

function methods.artifacts(args)
  local run
  if args.run then
    run = runs.find(args.run)
    if not run then return {'', {}} end
  elseif args.state and not (args.resource or args.path or args.tag) then
    return in_state(args)
  end
  return walk(artifact_list(args, run), args, function(seq)
    local artifact = artifacts.get(seq)
    local fits = (not args.resource or artifact.resource == args.resource) and (not args.path or artifact.path == args.path)
      and (not args.state or artifact.state == args.state) and (not args.tag or has_tag(artifact, args.tag))
    return fits and artifact_row(seq) or nil
  end)
end

-- The digests of a part of what is needed in a resource, each after its place, and the place after
-- which the caller goes on; '' if the part has ended.
function methods.needed(args)
  local list, found, limit = nil, {}, math.min(tonumber(args.limit), MOST_LOOKED_AT)
  if args.part == 'written' then
    local from = args.after == '' and '-' or '(' .. args.after
    local members = redis.call('ZRANGEBYLEX', outputs.key(args.run, args.resource), from, '+', 'LIMIT', 0, limit)
    for at, member in ipairs(members) do
      local _, seq = outputs.parts(member)
      found[at] = {member, artifacts.get(seq).digest or ''}
    end
    return found
  end
  if args.part == 'given' then
    list = key('run', args.run, 'inputs')
  elseif args.part == 'registered' then
    list = key('registered', args.resource)
  else
    list = key('artifacts', args.resource, args.part)
  end
  local from = args.after == '' and '0' or args.after
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', list, '(' .. from, '+inf', 'LIMIT', 0, limit)) do
    local artifact = artifacts.get(seq)
    found[#found + 1] = {seq, artifact.resource == args.resource and artifact.digest or ''}
  end
  return found
end
