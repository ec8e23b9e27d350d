-- New runs, with their claims.

-- The most artifacts that one run claims in a resource, unless a claim asks for more at least: a
-- script holds up every other client of the server.
local MOST_CLAIMED = 10000

-- Returns the artifacts that a claim takes; nil if they are too few.
local function claimable(claim)
  local resource, least = claim.resource, tonumber(claim.at_least)
  local taken, count, bytes = {}, 0, 0
  if claim.only then
    for _, id in ipairs(claim.only) do
      local seq = artifacts.find(id)
      local artifact = seq and artifacts.get(seq)
      if artifact and artifact.resource == resource and artifact.state == 'new' then
        taken[#taken + 1] = seq
        bytes = bytes + tonumber(artifact.size)
      end
    end
    count = #taken
  else
    local waiting = get(key('waiting', resource)) or {}
    count, bytes = tonumber(waiting.count or 0), tonumber(waiting.bytes or 0)
  end
  local most = tonumber(claim.at_most or count)
  if math.min(count, most) < least or bytes < tonumber(claim.min_bytes) then return nil end
  if claim.only then return taken end
  local limit = math.min(most, math.max(MOST_CLAIMED, least))
  if limit == 0 then return {} end
  return redis.call('ZRANGE', key('artifacts', resource, 'new'), 0, int(limit - 1))
end

-- Returns what each claim takes, by resource; nil if one of them finds too few artifacts.
local function claimed(claims)
  local found = {}
  for _, claim in ipairs(claims) do
    if found[claim.resource] then refuse('invalid', 'a run cannot claim from `' .. claim.resource .. '` twice') end
    local taken = claimable(claim)
    if not taken then return nil end
    found[claim.resource] = taken
  end
  return found
end

-- Returns what a run is given. Each artifact must still be at its path.
local function given(ids)
  local found = {}
  for _, id in ipairs(ids) do
    local seq = artifacts.find(id)
    local artifact = seq and artifacts.get(seq)
    if not artifact or artifact.ended or artifact.state == 'ignored' then
      refuse('conflict', 'artifact ' .. id .. ' cannot be worked on again: it was replaced or removed since it was recorded')
    end
    found[#found + 1] = seq
  end
  return found
end

local function add_input(run, inputs, seq)
  note('ZADD', key('run', run.number, 'inputs'), seq, seq)
  inputs[#inputs + 1] = seq
end

local function claim(run, inputs, resource, taken)
  for _, seq in ipairs(taken) do
    local artifact = artifacts.get(seq)
    artifacts.set_state(seq, 'current')
    set(artifacts.key(seq), {run = run.id})
    artifacts.wait(resource, -1, -tonumber(artifact.size))
    add_input(run, inputs, seq)
  end
end

-- Puts the record of a new run, and the lists by which filters find it.
local function insert(args)
  local number = next_number('run')
  set(runs.key(number), {
    number = number, id = args.id, state = 'queued', cause = args.cause, params = args.params, revision = args.revision,
    snapshot = newest_number('seq'), created = args.now, rerun_of = args.rerun_of, fired_by = args.fired_by_text,
    partition = args.partition, given = cjson.encode(args.given),
    indexed = #args.indexed > 0 and cjson.encode(args.indexed) or nil,
  })
  set_cell(key('run_ids'), args.id, number)
  for _, action in ipairs(args.actions) do
    local name = action.name
    action.name = nil
    runs.set_action(number, name, action)
  end
  note('ZADD', key('runs'), number, number)
  note('ZADD', key('runs', 'state', 'queued'), number, number)
  note('ZADD', key('runs', 'created'), args.now, number)
  for _, name in ipairs(args.fired_by) do
    note('ZADD', key('runs', 'trigger', name), number, number)
  end
  for _, param in ipairs(args.indexed) do
    note('ZADD', key('runs', 'given', sized(param.name), param.value), number, number)
  end
  return runs.get(number)
end

-- Returns the rest of the answer, once everything is written.
local function answer(number, run, started, claims)
  return function()
    local pending = {}
    for _, it in ipairs(claims) do
      pending[#pending + 1] = {it.resource, artifacts.pending(it.resource)}
    end
    return {number, run.snapshot, run.created, started, pending}
  end
end

-- Returns the first answer to the creation of a run that exists, if the same run is requested.
local function created_before(number, run, args)
  local is_same = run.cause == args.cause and run.params == args.params and run.revision == args.revision
    and run.rerun_of == args.rerun_of and run.given == cjson.encode(args.given)
  local count = 0
  for _, action in ipairs(args.actions) do
    local known = runs.action(number, action.name)
    is_same = is_same and known and known.position == action.position
  end
  for _ in pairs(get(key('run', number, 'actions')) or {}) do
    count = count + 1
  end
  if not is_same or count ~= #args.actions then
    refuse('conflict', 'run ' .. args.id .. ' already exists, and was created with different arguments')
  end
  local started = steps.taken_before(number, args.step, newest_number('epoch'))
  return answer(number, run, started, args.claims)
end

-- Creates a run and claims its inputs. Returns nothing if a claim finds too few. A repeat returns
-- the first answer.
function methods.create_run(args)
  local number, known = runs.find(args.id)
  if known then return created_before(number, known, args) end
  if not get(key('revision', args.revision)) then
    refuse('invalid', 'manifest ' .. args.revision .. ' is not on record; register it before its runs')
  end
  local taken = claimed(args.claims)
  if not taken then return {} end
  local to_give = given(args.given)
  local run, inputs = insert(args), {}
  for _, seq in ipairs(to_give) do
    add_input(run, inputs, seq)
  end
  for _, it in ipairs(args.claims) do
    claim(run, inputs, it.resource, taken[it.resource])
  end
  made_inputs[run.number] = inputs
  local data = json('number', run.number, 'trigger', text(args.cause), 'inputs', int(#inputs))
  emit('run_created', args.now, data, {run = run.id})
  for _, tick in ipairs(args.ticks) do
    record_tick(tick)
  end
  set_marks(args.marks)
  local created = {snapshot = run.snapshot, created = run.created}
  local started = steps.take(run, args.step, args.now)
  return answer(run.number, created, started, args.claims)
end
