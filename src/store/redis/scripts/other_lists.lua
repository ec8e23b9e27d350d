-- Lists of everything else.

function methods.awaiting_approval(args)
  return rows(after(key('approvals'), args), function(seq)
    local number = redis.call('HGET', key('approval', seq), 'run')
    return {runs.get(number).id, row(key('approval', seq), seq)}
  end)
end

local function fact_list(args, run)
  local kind, name = args.kind, args.name
  if run then return name and key(kind, 'run', run, 'name', name) or key(kind, 'run', run) end
  return name and key(kind, 'name', name) or key(kind, 'all')
end

-- Facts, each with its number, the id of its run, and the id, action and state of its attempt.
function methods.facts(args)
  local run
  if args.run then
    run = runs.find(args.run)
    if not run then return {'', {}} end
  end
  return walk(fact_list(args, run), args, function(seq)
    local document = redis.call('HGET', key(args.kind .. 's'), seq)
    local fact = cjson.decode(document)
    local attempt = fact.attempt and get(key('attempt', fact.attempt)) or {}
    local is_meant = (not args.before_run or tonumber(fact.run) < tonumber(args.before_run))
      and (not args.succeeded or not fact.attempt or attempt.state == 'succeeded')
    if not is_meant then return nil end
    return {seq, document, runs.get(fact.run).id, attempt.id or '', attempt.action or '', attempt.state or ''}
  end)
end

function methods.ticks(args)
  local list = args.trigger and key('ticks', 'of', args.trigger) or key('ticks', 'all')
  return rows(before(list, args), function(seq)
    return {seq, cjson.decode(redis.call('HGET', key('ticks'), seq)).text}
  end)
end

function methods.trigger_marks()
  return redis.call('HVALS', key('marks'))
end

function methods.events(args)
  local found = {}
  if not args.run then
    return redis.call('XRANGE', key('events'), '(' .. args.after .. '-0', '+', 'COUNT', args.limit)
  end
  for _, seq in ipairs(after(key('events', args.run), args)) do
    found[#found + 1] = redis.call('XRANGE', key('events'), seq .. '-0', seq .. '-0')[1]
  end
  return found
end

function methods.oldest_event()
  local first = redis.call('XRANGE', key('events'), '-', '+', 'COUNT', 1)[1]
  return {first and string.match(first[1], '^%d+') or int(tonumber(newest_number('event')) + 1)}
end

function methods.settings()
  return redis.call('HGETALL', meta)
end

function methods.revision(args)
  return redis.call('HGETALL', key('revision', args.digest))
end

function methods.cursor(args)
  return {redis.call('HGET', key('cursors'), args.resource) or nil}
end

function methods.paused_nodes()
  return redis.call('HVALS', key('paused'))
end

local function notification_row(seq)
  return row(key('notification', seq), seq)
end

function methods.notifications(args)
  return rows(before(args.name and key('notifications', 'for', args.name) or key('notifications'), args), notification_row)
end

function methods.waiting_notifications(args)
  return rows(redis.call('ZRANGE', key('notifications', 'waiting', args.name), 0, int(tonumber(args.limit) - 1)), notification_row)
end

function methods.last_notification(args)
  local about = sized(args.cause) .. (args.resource and 'of ' .. args.resource or 'none')
  return rows(redis.call('ZREVRANGE', key('notifications', 'cause', sized(args.name), about), 0, 0), notification_row)
end

function methods.told_outages()
  return redis.call('HVALS', key('outages'))
end
