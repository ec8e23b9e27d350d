-- The commit point of an attempt with outputs, and its end.

-- Returns whether exactly this intent is on record already.
local function committed_before(attempt, args)
  local files = outputs.intent(attempt.seq)
  if #files ~= #args.files or (attempt.cached_from ~= nil) ~= (args.reuse ~= nil) then return false end
  for at, file in ipairs(files) do
    if file.file ~= args.files[at].text then return false end
  end
  return attempts.ended_before(attempt, args.ended, 'publishing')
end

-- Records one output: as the next version at its path, or as the present one, if that is the same.
-- Returns the id of the artifact that it became.
local function output(attempt, file, now)
  local seq, there = artifacts.at(file.resource, file.path)
  -- An output of an earlier attempt of the action may be replaced by a later one.
  if there and not file.overwrite and there.stamp ~= file.replaces then
    refuse('path_taken', file.resource, file.path)
  end
  local is_new = not (there and there.digest == file.digest)
  if is_new then
    artifacts.replace(file.resource, file.path, now)
    local version
    seq, version = artifacts.insert({
      id = file.id, resource = file.resource, path = file.path, digest = file.digest, size = file.size,
      state = 'published', by = attempt.id, stamp = file.stamp, visible = 'pending',
    }, now)
    local data = artifacts.describe(file.resource, file.path, version, file.digest, file.size)
    attempts.emit(attempt, 'artifact_published', data, now, file.id)
  else
    -- The same bytes in another file: from now on its stamp identifies the version.
    set(artifacts.key(seq), {stamp = file.stamp, visible = 'pending'})
  end
  local id = artifacts.get(seq).id
  local intent = {file = file.text, became = id, seq = seq, retrigger = (file.retrigger and is_new) or false}
  note('RPUSH', key('attempt', attempt.seq, 'intent'), cjson.encode(intent))
  outputs.add(attempt, file.resource, file.path, seq)
  return id
end

-- Commits the outputs of an attempt: from now on they exist. A repeat changes nothing.
function methods.publish_intent(args)
  local attempt, now, became = attempts.check(args.fence), args.now, {}
  if attempt.state == 'publishing' and committed_before(attempt, args) then return {} end
  attempts.must_be_at_work(attempt)
  for _, file in ipairs(args.files) do
    local id = output(attempt, file, now)
    if file.model then models.register(file.model, id, {attempt = attempt}, now) end
    became[file.id] = id
  end
  if args.reuse then memories.reuse(attempt, args.reuse, now) end
  attempts.note_end(attempt, args.ended, 'publishing', now, became)
  if args.skip then set(key('attempt', attempt.seq), {skip = '1'}) end
  note('ZADD', key('intents'), attempt.seq, attempt.seq)
  attempts.emit(attempt, 'attempt_publishing', json('outputs', int(#(args.reuse and args.reuse.outputs or args.files))), now)
  return {}
end

-- Puts the version that an output had replaced back at its path. The sequence before that of the
-- output is the one at which it replaced the version.
local function restore(resource, path, replaced)
  local lists = {published = true, current = true, old = true}
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', key('ended', resource), replaced, replaced)) do
    local artifact = artifacts.get(seq)
    if artifact.path == path and lists[artifact.state] then
      set(artifacts.key(seq), {ended = false})
      note('ZREM', key('ended', resource), seq)
      set_cell(key('at', resource), path, seq)
      note('ZADD', key('paths', resource), 0, path)
    end
  end
end

-- Records that a service did not take an output: it is at its path no more, and what it had
-- replaced is there again. An output that had the bytes of an earlier version is that version,
-- which the service has, so nothing changes.
local function not_taken(attempt, file, why, now)
  local seq = file.seq
  local artifact = artifacts.get(seq)
  if artifact.by ~= attempt.id then return end
  local resource, path = artifact.resource, artifact.path
  local was_present = not artifact.ended
  if was_present then artifacts.finish(seq, 'not_taken') end
  artifacts.set_state(seq, 'not_taken')
  set(artifacts.key(seq), {reason = why})
  if was_present then restore(resource, path, int(tonumber(seq) - 1)) end
  note('ZREM', outputs.key(attempt.run, resource), outputs.member(path, seq, attempt.action))
  local data = json('resource', text(resource), 'path', text(path), 'version', artifact.version, 'reason', text(why))
  attempts.emit(attempt, 'artifact_not_taken', data, now, artifact.id)
end

-- Makes an output pending for a run of its own, now that it can be read. At the commit point, a run
-- could claim it before it is visible.
local function retrigger(seq, now)
  local artifact = artifacts.get(seq)
  if artifact.ended or artifact.state ~= 'published' then return end
  artifacts.set_state(seq, 'new')
  artifacts.wait(artifact.resource, 1, tonumber(artifact.size))
  local data = artifacts.describe(artifact.resource, artifact.path, artifact.version, artifact.digest, artifact.size)
  emit('artifact_recorded', now, data, {artifact = artifact.id})
end

-- Records that every file of the intent is visible, so the attempt has succeeded, and takes the
-- step that follows. With `refusal`, services did not take some of them, so the attempt ends as
-- that says. A repeat returns the first answer.
function methods.published(args)
  local attempt, refusal, now = attempts.check(args.fence), args.refusal, args.now
  local state = refusal and refusal.state or 'succeeded'
  if attempt.state == state then
    return steps.taken_before(attempt.run, args.step, args.fence.epoch)
  elseif attempt.state == 'running' then
    refuse('conflict', 'attempt ' .. attempt.id .. ' has not passed its commit point: there is nothing to mark as published')
  elseif attempt.state ~= 'publishing' then
    attempts.refuse_ended(attempt)
  end
  local files = outputs.intent(attempt.seq)
  -- The next event belongs to this transaction: every later reader sees the outputs.
  local visible = tonumber(newest_number('event')) + 1
  for _, file in ipairs(files) do
    set(artifacts.key(file.seq), {visible = visible})
  end
  for _, it in ipairs(args.stamps) do
    local file = files[tonumber(it.position) + 1]
    if file and not artifacts.get(file.seq).ended then set(artifacts.key(file.seq), {stamp = it.stamp}) end
  end
  for _, it in ipairs(refusal and refusal.files or {}) do
    local file = files[tonumber(it.position) + 1]
    if file then not_taken(attempt, file, it.why, now) end
  end
  for _, file in ipairs(files) do
    if file.retrigger then retrigger(file.seq, now) end
  end
  -- What a cached action has taken over is in no intent.
  if not refusal and not attempt.cached_from then outputs.forget_earlier(attempt) end
  note('DEL', key('attempt', attempt.seq, 'intent'))
  note('ZREM', key('intents'), attempt.seq)
  set_cell(key('run', attempt.run, 'active'), attempt.action, false)
  set(key('attempt', attempt.seq), {state = state, ended = now, error = refusal and refusal.error or false})
  attempts.emit_ended(attempt, state, refusal and refusal.error, now)
  return steps.follow(attempt.run, args.step, now)
end
