-- What is configured, pauses, and notifications.

-- Puts a manifest on record.
function methods.register_revision(args)
  local name = key('revision', args.digest)
  if get(name) then return {} end
  set(name, {manifest = args.manifest, components = args.components, registered = args.now})
  note('SADD', key('revisions'), args.digest)
  emit('revision_registered', args.now, json('revision', text(args.digest)))
  return {}
end

-- Pauses or resumes the pipeline. Makes no event if nothing changes.
function methods.set_paused(args)
  local is_paused = get(meta).paused ~= nil
  if is_paused == args.paused then return {} end
  set(meta, {paused = args.paused and '1' or false})
  emit(args.paused and 'paused' or 'resumed', args.now, '{}')
  return {}
end

-- Names the action in an event about one.
local function about(args)
  return {action = args.kind == 'action' and args.name or nil}
end

-- Pauses a node. Makes no event if nothing changes.
function methods.pause_node(args)
  local name, field = key('paused'), args.kind .. ' ' .. args.name
  local known = cell(name, field)
  known = known and cjson.decode(known)
  if known and (not args.reason or known.reason == args.reason) then return {cell(name, field)} end
  local since = known and known.since or args.now
  local pause = cjson.encode({kind = args.kind, name = args.name, since = since, reason = args.reason})
  set_cell(name, field, pause)
  local data = json('type', text(args.kind), 'name', text(args.name), 'reason', maybe(args.reason))
  emit('node_paused', args.now, data, about(args))
  return {pause}
end

-- Resumes a node. Makes no event if nothing changes.
function methods.resume_node(args)
  local name, field = key('paused'), args.kind .. ' ' .. args.name
  if not cell(name, field) then return {} end
  set_cell(name, field, false)
  emit('node_resumed', args.now, json('type', text(args.kind), 'name', text(args.name)), about(args))
  return {}
end

-- Drops events but the newest `keep`, at most `batch` of them. Returns how many.
function methods.prune_events(args)
  local last = tonumber(newest_number('event')) - tonumber(args.keep)
  if last < 1 then return {'0'} end
  local old = redis.call('XRANGE', key('events'), '-', int(last) .. '-0', 'COUNT', args.batch)
  if #old == 0 then return {'0'} end
  for _, entry in ipairs(old) do
    local fields = entry[2]
    for at = 1, #fields, 2 do
      if fields[at] == 'r' then
        note('ZREM', key('events', fields[at + 1]), (string.match(entry[1], '^%d+')))
      end
    end
  end
  local first_kept = tonumber(string.match(old[#old][1], '^%d+')) + 1
  note('XTRIM', key('events'), 'MINID', int(first_kept) .. '-0')
  return {int(#old)}
end

-- The lists that have a notification.
local function notification_lists(fields)
  local about = sized(fields.cause) .. (fields.resource and 'of ' .. fields.resource or 'none')
  return {
    key('notifications'), key('notifications', 'for', fields.name),
    key('notifications', 'cause', sized(fields.name), about),
  }
end

local function add_notification(new)
  local ids = key('notification_ids')
  if cell(ids, new.id) then return end
  local seq = next_number('notification')
  set_cell(ids, new.id, seq)
  set(key('notification', seq), {
    id = new.id, name = new.name, cause = new.cause, resource = new.resource, text = new.text, state = new.state,
    attempts = new.attempts, error = new.error, ended = new.ended,
  })
  for _, list in ipairs(notification_lists(new)) do
    note('ZADD', list, seq, seq)
  end
  if new.state == 'waiting' then note('ZADD', key('notifications', 'waiting', new.name), seq, seq) end
  if new.cause == 'resource_unreachable' and new.resource then
    note('HSET', key('outages'), sized(new.resource) .. new.name, cjson.encode({new.resource, new.name}))
  end
  for _, old in ipairs(too_old(key('notifications'), seq, new.most)) do
    local fields = get(key('notification', old))
    if fields then
      for _, list in ipairs(notification_lists(fields)) do
        note('ZREM', list, old)
      end
      note('ZREM', key('notifications', 'waiting', fields.name), old)
      note('HDEL', ids, fields.id)
      note('DEL', key('notification', old))
    end
  end
end

-- Records notifications, and how far events were examined. Existing notifications stay unchanged.
function methods.record_notifications(args)
  for _, new in ipairs(args.new) do
    add_notification(new)
  end
  local known = get(meta).notified
  if args.examined and (not known or tonumber(known) < tonumber(args.examined)) then
    set(meta, {notified = args.examined})
  end
  return {}
end

-- Records that a resource can be reached again.
function methods.note_reachable(args)
  for _, field in ipairs(redis.call('HKEYS', key('outages'))) do
    if string.sub(field, 1, #sized(args.resource)) == sized(args.resource) then note('HDEL', key('outages'), field) end
  end
  return {}
end

-- Records the result of an attempt to deliver. One that has ended is not changed.
function methods.note_delivery(args)
  local seq = cell(key('notification_ids'), args.id)
  local fields = seq and get(key('notification', seq))
  if not fields or fields.state ~= 'waiting' then return {} end
  local is_over = args.state ~= 'waiting'
  set(key('notification', seq), {
    state = args.state, attempts = args.attempts, error = args.error or false, ended = is_over and args.now or false,
  })
  if is_over then note('ZREM', key('notifications', 'waiting', fields.name), seq) end
  return {}
end

-- A write that changes nothing: it fails as any other would.
function methods.probe()
  return {}
end
