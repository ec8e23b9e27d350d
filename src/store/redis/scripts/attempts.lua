-- Attempts: the check of the fencing token before each of their writes, and their end.

local attempts = {}

-- Returns the attempt with this token, which must be the newest of its attempt. The caller checks
-- whether the attempt has ended.
function attempts.check(fence)
  local seq = cell(key('attempt_ids'), fence.attempt)
  local attempt = seq and get(key('attempt', seq))
  if not attempt then refuse('fenced', fence.attempt, 'it is not on record') end
  if attempt.epoch ~= fence.epoch or attempt.token ~= fence.token then
    local known, given = attempt.epoch .. '.' .. attempt.token, fence.epoch .. '.' .. fence.token
    refuse('fenced', fence.attempt, 'its token is now ' .. known .. ', not ' .. given)
  end
  return attempt
end

function attempts.refuse_ended(attempt)
  refuse('fenced', attempt.id, 'it has ended as ' .. attempt.state)
end

-- Refuses a write that only an attempt whose guest is running may make.
function attempts.must_be_at_work(attempt)
  if attempt.state == 'publishing' then
    refuse('conflict', 'attempt ' .. attempt.id .. ' has passed its commit point: it can only be published')
  elseif attempt.state ~= 'running' then
    attempts.refuse_ended(attempt)
  end
end

function attempts.emit(attempt, kind, data, now, artifact)
  local run = runs.get(attempt.run)
  emit(kind, now, data, {run = run.id, action = attempt.action, attempt = attempt.id, artifact = artifact})
end

-- Emits the event of the end of an attempt. `error` is JSON, or absent.
function attempts.emit_ended(attempt, state, error_text, now)
  attempts.emit(attempt, 'attempt_ended', json('state', text(state), 'error', error_text or 'null'), now)
end

-- Returns whether exactly this end is on record already, with the attempt in the state `state`.
function attempts.ended_before(attempt, ended, state)
  return attempt.state == state and attempt.error == ended.error and attempt.message == ended.message
    and attempt.usage == ended.usage and attempt.to_segment == ended.to_segment and attempt.to_offset == ended.to_offset
end

-- Writes the record of an attempt: its fields, accesses, denials, requests, and the tags if it
-- succeeded. `became` maps artifacts to their ids on record. Artifacts that are not on record
-- (staged files that were not published) are left out.
function attempts.note_end(attempt, ended, state, now, became)
  set(key('attempt', attempt.seq), {
    state = state, ended = state ~= 'publishing' and now or false, error = ended.error or false, message = ended.message or false,
    usage = ended.usage, to_segment = ended.to_segment, to_offset = ended.to_offset,
  })
  for _, access in ipairs(ended.accesses) do
    local id = became[access.id] or access.id
    local artifact = artifacts.find(id)
    if artifact then
      local seq = next_number('access')
      local packed = {attempt.run, attempt.seq, artifact, access.kind, access.bytes, access.calls}
      note('HSET', key('accesses'), seq, table.concat(packed, ' '))
      note('ZADD', key('run', attempt.run, 'accesses'), seq, seq)
      note('ZADD', key('uses', artifact), seq, seq)
      if access.digest and not artifacts.get(artifact).digest then
        set(artifacts.key(artifact), {digest = access.digest})
      end
    end
  end
  for _, denial in ipairs(ended.denials) do
    local seq = next_number('denial')
    denial.attempt = attempt.seq
    note('HSET', key('denials'), seq, cjson.encode(denial))
    note('RPUSH', key('attempt', attempt.seq, 'denials'), seq)
  end
  for _, request in ipairs(ended.requests) do
    local seq = next_number('request')
    note('HSET', key('requests'), seq, request)
    note('RPUSH', key('attempt', attempt.seq, 'requests'), seq)
  end
  memories.note(attempt, ended, became)
  if ended.state == 'succeeded' then
    -- Apart from the other fields, because every list of attempts reads those.
    if ended.recording then note('SET', key('attempt', attempt.seq, 'recording'), ended.recording) end
    for _, it in ipairs(ended.tags) do
      local artifact = artifacts.find(became[it.id] or it.id)
      if artifact then tags.put(artifact, it.tag, it.unique) end
    end
    models.follow_tags(attempt, ended.tags, became, now)
  end
end

-- Outputs of a run in a resource are in a list by path: the path under which the file was
-- published, its sequence, and the action.
local outputs = {}

function outputs.key(run, resource)
  return key('run', run, 'outputs', resource)
end

function outputs.member(path, seq, action)
  return path .. '\0' .. string.format('%016d', seq) .. '\0' .. action
end

-- Returns path, sequence and action of an output. A path may have any character, so the end is
-- read first.
function outputs.parts(member)
  local path, seq, action = string.match(member, '^(.*)%z(%d+)%z([^%z]*)$')
  return path, int(tonumber(seq)), action
end

-- Adds an output of an attempt to those of its run.
function outputs.add(attempt, resource, path, seq)
  note('SADD', key('run', attempt.run, 'published'), resource)
  note('ZADD', outputs.key(attempt.run, resource), 0, outputs.member(path, seq, attempt.action))
end

-- Returns what an attempt has committed to publish: for each file its text, the artifact that it
-- became with its sequence, and whether it is to be `new`.
function outputs.intent(attempt)
  local files = {}
  for at, document in ipairs(redis.call('LRANGE', key('attempt', attempt, 'intent'), 0, -1)) do
    files[at] = cjson.decode(document)
  end
  return files
end

-- Removes what earlier attempts of the action have published from the outputs of the run, because
-- the action has been done again. What the intents of the attempt have become stays, and all
-- artifacts stay on record.
function outputs.forget_earlier(attempt)
  if tonumber(attempt.number) <= 1 then return end
  local own = {}
  for _, file in ipairs(outputs.intent(attempt.seq)) do
    own[file.seq] = true
  end
  for _, resource in ipairs(redis.call('SMEMBERS', key('run', attempt.run, 'published'))) do
    local name = outputs.key(attempt.run, resource)
    for _, member in ipairs(redis.call('ZRANGE', name, 0, -1)) do
      local _, seq, action = outputs.parts(member)
      if action == attempt.action and not own[seq] then note('ZREM', name, member) end
    end
  end
end

-- Ends an attempt that publishes nothing, and takes the step that follows. A repeat returns the
-- first answer.
function methods.finish_attempt(args)
  local attempt, ended, now = attempts.check(args.fence), args.ended, args.now
  if attempt.state ~= 'running' and attempts.ended_before(attempt, ended, ended.state) then
    return steps.taken_before(attempt.run, args.step, args.fence.epoch)
  end
  attempts.must_be_at_work(attempt)
  if ended.state == 'succeeded' then outputs.forget_earlier(attempt) end
  attempts.note_end(attempt, ended, ended.state, now, {})
  set_cell(key('run', attempt.run, 'active'), attempt.action, false)
  attempts.emit_ended(attempt, ended.state, ended.error, now)
  return steps.follow(attempt.run, args.step, now)
end

-- Gives the unfinished attempts of earlier hosts tokens of this epoch. In a repeat, they keep them.
-- Returns the runs that have not ended.
function methods.take_over()
  local epoch, stopping, numbers = newest_number('epoch'), newest_number('stopping'), {}
  for _, state in ipairs({'queued', 'running', 'cancelling'}) do
    for _, number in ipairs(redis.call('ZRANGE', key('runs', 'state', state), 0, -1)) do
      numbers[#numbers + 1] = number
    end
  end
  table.sort(numbers, function(one, other) return tonumber(one) < tonumber(other) end)
  for _, number in ipairs(numbers) do
    for _, seq in ipairs(redis.call('HVALS', key('run', number, 'active'))) do
      local attempt = get(key('attempt', seq))
      if attempt.epoch ~= epoch then
        local stopped = attempt.stopped or (attempt.epoch == stopping and '1') or false
        set(key('attempt', seq), {epoch = epoch, token = next_number('token'), stopped = stopped})
      end
    end
  end
  local ids = {}
  for at, number in ipairs(numbers) do
    ids[at] = runs.get(number).id
  end
  return ids
end

-- Records that the host of this epoch was asked to stop.
function methods.note_stop()
  set(meta, {stopping = newest_number('epoch')})
  return {}
end
