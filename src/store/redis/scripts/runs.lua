-- Runs: their records, states and steps.

local runs = {}

function runs.key(number)
  return key('run', number)
end

function runs.get(number)
  return get(runs.key(number))
end

-- Returns a function that reads a run once everything is written.
function runs.row(number)
  return function()
    return {redis.call('HGETALL', runs.key(number))}
  end
end

-- Returns the number and the fields of a run by its id; nil if it is not on record.
function runs.find(id)
  local number = cell(key('run_ids'), id)
  if number then return number, runs.get(number) end
end

local has_ended = {succeeded = true, failed = true, cancelled = true}

-- Returns an action of a run; nil if it has none of this name.
function runs.action(number, name)
  local actions = get(key('run', number, 'actions')) or {}
  return actions[name] and cjson.decode(actions[name])
end

function runs.set_action(number, name, action)
  set(key('run', number, 'actions'), {[name] = cjson.encode(action)})
end

function runs.no_action(run, name)
  refuse('conflict', 'run ' .. run.number .. ' has no action `' .. name .. '`')
end

function runs.action_event(run, name, state, reason, now)
  local data = json('state', text(state), 'reason', maybe(reason))
  emit('action_state', now, data, {run = run.id, action = name})
end

-- Moves the inputs that a run has claimed from one state to another. `made` has the inputs of a run
-- that this work creates.
local made_inputs = {}

function runs.move_claims(run, from, to)
  local inputs = made_inputs[run.number] or redis.call('ZRANGE', key('run', run.number, 'inputs'), 0, -1)
  for _, seq in ipairs(inputs) do
    local artifact = artifacts.get(seq)
    if artifact.run == run.id and artifact.state == from then artifacts.set_state(seq, to) end
  end
end

-- Sets the state of a run, with all that follows from it. Makes no event if nothing changes.
function runs.set_state(run, state, reason, now)
  if run.state == state and run.reason == reason then return end
  local number, retried = run.number, has_ended[run.state]
  local ended_seq = int(tonumber(newest_number('event')) + 1)
  note('ZREM', key('runs', 'state', run.state), number)
  note('ZADD', key('runs', 'state', state), number, number)
  if run.ended_seq then note('ZREM', key('runs', 'ended', run.state), number) end
  if run.duration then note('ZREM', key('runs', 'duration'), string.format('%016d', number)) end
  local fields = {state = state, reason = reason or false, ended = false, ended_seq = false, duration = false}
  if has_ended[state] then
    fields.ended, fields.ended_seq = now, ended_seq
    note('ZADD', key('runs', 'ended', state), ended_seq, number)
    if run.started then
      fields.duration = int(tonumber(now) - tonumber(run.started))
      note('ZADD', key('runs', 'duration'), fields.duration, string.format('%016d', number))
    end
  end
  set(runs.key(number), fields)
  if has_ended[state] then runs.move_claims(run, 'current', 'old') end
  local data = {'number', number, 'state', text(state), 'reason', maybe(reason)}
  if retried then
    data[#data + 1] = 'retried'
    data[#data + 1] = 'true'
  end
  emit('run_state', now, json(unpack(data)), {run = run.id})
end

local approvals = {}

-- Records that an action waits for approval.
function approvals.ask(run, action, asked, now)
  local seq = next_number('approval')
  set(key('approval', seq), {
    run = run.number, action = action, who = asked.who, since = asked.since, ['until'] = asked['until'] or false, open = '1',
  })
  set(key('run', run.number, 'asked'), {[action] = seq})
  note('ZADD', key('run', run.number, 'approvals'), seq, seq)
  note('ZADD', key('approvals'), seq, seq)
  local data = json('number', run.number, 'who', text(asked.who), 'until', maybe(asked.until_text))
  emit('approval_requested', now, data, {run = run.id, action = action})
end

-- Returns the sequence and the fields of the newest approval that an action has asked for.
function approvals.newest(number, action)
  local asked = get(key('run', number, 'asked'))
  local seq = asked and asked[action]
  if seq then return seq, get(key('approval', seq)) end
end

-- Records that an action waits no longer, decided or not.
function approvals.close(number, action)
  local seq, approval = approvals.newest(number, action)
  if seq and approval.open then
    set(key('approval', seq), {open = false})
    note('ZREM', key('approvals'), seq)
  end
end

local steps = {}

local function change_action(run, change, now)
  local known = runs.action(run.number, change.name)
  if not known then runs.no_action(run, change.name) end
  local action = {
    position = known.position, state = change.state, reason = change.reason, attempts = change.attempts, tries = change.tries,
    crashes = change.crashes, retry_at = change.retry_at, skipped_rest = change.skipped_rest,
  }
  runs.set_action(run.number, change.name, action)
  if change.state == change.before then return end
  runs.action_event(run, change.name, change.state, change.reason, now)
  if change.state == 'awaiting_approval' and change.asked then
    approvals.ask(run, change.name, change.asked, now)
  elseif change.before == 'awaiting_approval' then
    approvals.close(run.number, change.name)
  end
end

-- Starts an attempt, and issues its token.
local function start(run, new, now)
  local action = runs.action(run.number, new.action)
  if not action then runs.no_action(run, new.action) end
  local active = key('run', run.number, 'active')
  if cell(active, new.action) then
    refuse('conflict', 'an attempt of `' .. new.action .. '` in run ' .. run.number .. ' is running already')
  end
  local epoch, token, seq = newest_number('epoch'), next_number('token'), next_number('attempt')
  set(key('attempt', seq), {
    seq = seq, id = new.id, run = run.number, action = new.action, number = new.number, state = 'running', started = now,
    component = new.component, grants = new.grants, usage = new.usage, from_segment = new.from_segment,
    from_offset = new.from_offset, epoch = epoch, token = token,
  })
  set_cell(key('attempt_ids'), new.id, seq)
  set_cell(active, new.action, seq)
  note('ZADD', key('run', run.number, 'attempts'), seq, seq)
  local before = action.state
  action.state, action.reason, action.retry_at = 'running', nil, nil
  if tonumber(action.attempts) < tonumber(new.number) then action.attempts = new.number end
  runs.set_action(run.number, new.action, action)
  if before ~= 'running' then runs.action_event(run, new.action, 'running', nil, now) end
  if not run.started then set(runs.key(run.number), {started = now}) end
  if run.state == 'queued' then runs.set_state(run, 'running', nil, now) end
  emit('attempt_started', now, json('number', new.number), {run = run.id, action = new.action, attempt = new.id})
  return {new.id, epoch, token}
end

-- Takes a step of a run that has not ended. Returns the attempts that it started.
function steps.take(run, step, now)
  local started = {}
  for _, change in ipairs(step.actions or {}) do
    change_action(run, change, now)
  end
  for _, new in ipairs(step.starts or {}) do
    started[#started + 1] = start(run, new, now)
  end
  -- Someone may have cancelled the run since the step was decided. Then it stays `cancelling` until
  -- it has ended.
  local change = step.run
  if change and not (run.state == 'cancelling' and not has_ended[change.state]) then
    runs.set_state(run, change.state, change.reason, now)
  end
  return started
end

-- Takes a step of a run, as part of the write that causes it.
function steps.follow(number, step, now)
  local run = runs.get(number)
  local moves = #(step.actions or {}) > 0 or #(step.starts or {}) > 0 or step.run
  if has_ended[run.state] and moves then
    refuse('conflict', 'run ' .. number .. ' has already ended as ' .. run.state)
  end
  return steps.take(run, step, now)
end

-- Returns the attempts that a step started when a host of this epoch took it: the first answer.
function steps.taken_before(number, step, epoch)
  local started = {}
  for _, new in ipairs(step.starts or {}) do
    local seq = cell(key('attempt_ids'), new.id)
    local attempt = seq and get(key('attempt', seq))
    if not attempt or attempt.run ~= number then
      refuse('conflict', 'this step of run ' .. number .. ' is on record without attempt ' .. new.id)
    end
    -- The token on record may be another host's: this caller must not get it.
    if attempt.epoch ~= epoch then refuse('fenced', new.id, 'another host has taken it over') end
    started[#started + 1] = {new.id, attempt.epoch, attempt.token}
  end
  return started
end

-- Takes a step of a run that does not follow from the end of an attempt. A repeat returns the first
-- answer.
function methods.advance(args)
  local number, run = runs.find(args.run)
  if not run then refuse('conflict', 'run ' .. args.run .. ' is not on record') end
  if run.step == args.id then return steps.taken_before(number, args.step, newest_number('epoch')) end
  local started = steps.follow(number, args.step, args.now)
  set(runs.key(number), {step = args.id})
  return started
end

-- Requests the cancellation of a run.
function methods.request_cancel(args)
  local number, run = runs.find(args.run)
  if not run then return {} end
  if not has_ended[run.state] and run.state ~= 'cancelling' then runs.set_state(run, 'cancelling', nil, args.now) end
  return runs.row(number)
end

local not_done = {failed = true, skipped = true, cancelled = true}

-- Returns the names of the actions that a retry takes up, in the order of the manifest. `again` are
-- those that it takes up whatever their state.
local function taken_up(run, again)
  local wanted, found = {}, {}
  for _, name in ipairs(again) do
    if not runs.action(run.number, name) then refuse('invalid', 'run ' .. run.number .. ' has no action `' .. name .. '`') end
    wanted[name] = true
  end
  for name, document in pairs(get(key('run', run.number, 'actions')) or {}) do
    local action = cjson.decode(document)
    local not_triggered = action.state == 'skipped' and action.reason == 'not_triggered'
    if (not_done[action.state] or wanted[name]) and not not_triggered then
      found[#found + 1] = {name = name, action = action}
    end
  end
  table.sort(found, function(one, other) return tonumber(one.action.position) < tonumber(other.action.position) end)
  if #again > 0 and #found == 0 then
    refuse('conflict', 'nothing had triggered ' .. table.concat(again, ', ') .. ' in run ' .. run.number
      .. ': there is nothing to run again from there on')
  end
  return found
end

-- Resumes a run that has ended. A repeat only returns the run.
function methods.request_retry(args)
  local number, run = runs.find(args.run)
  if not run then return {} end
  if run.retry == args.id then return runs.row(number) end
  if run.state == 'succeeded' and #args.again == 0 then
    refuse('conflict', 'run ' .. number
      .. ' has succeeded: there is nothing to retry, except from one of its actions on')
  elseif not has_ended[run.state] then
    refuse('conflict', 'run ' .. number .. ' is ' .. run.state .. ': only a run that has ended is retried')
  end
  for _, it in ipairs(taken_up(run, args.again)) do
    runs.set_action(number, it.name, {
      position = it.action.position, state = 'pending', attempts = it.action.attempts, tries = '0', crashes = '0',
      skipped_rest = false,
    })
    runs.action_event(run, it.name, 'pending', nil, args.now)
  end
  runs.move_claims(run, 'old', 'current')
  runs.set_state(run, 'running', nil, args.now)
  set(runs.key(number), {retry = args.id})
  return runs.row(number)
end

-- Decides about an action that waits for approval. A repeat only returns the run. Why an earlier
-- decision stands is said by the caller, who gets that decision.
function methods.decide_approval(args)
  local number, run = runs.find(args.run)
  if not run then return {} end
  local action = runs.action(number, args.action)
  if not action then runs.no_action(run, args.action) end
  local seq, asked = approvals.newest(number, args.action)
  if asked and asked.write == args.id then return runs.row(number) end
  if asked and asked.open then
    if has_ended[run.state] or run.state == 'cancelling' then
      refuse('conflict', 'run ' .. number .. ' is being cancelled, so nothing is left to decide')
    end
    approvals.close(number, args.action)
    set(key('approval', seq), {
      verdict = args.verdict, by = args.by or false, note = args.note or false, at = args.now, write = args.id,
    })
    local data = json('number', number, 'verdict', text(args.verdict), 'by', maybe(args.by), 'note', maybe(args.note))
    emit('approval_decided', args.now, data, {run = run.id, action = args.action})
    return runs.row(number)
  end
  -- A decision about an earlier start does not apply to the current one.
  local in_force = action.state ~= 'pending' and action.state ~= 'skipped' and action.state ~= 'cancelled'
  if not asked or not in_force then
    refuse('conflict', '`' .. args.action .. '` of run ' .. number .. ' does not wait for approval: it is ' .. action.state)
  end
  if not (asked.verdict == args.verdict and asked.by == args.by and asked.note == args.note) then
    refuse('decided', number, redis.call('HGETALL', key('approval', seq)))
  end
  return runs.row(number)
end
