-- The lease of the store: who may open it, and until when unless it says so again. It ends by the
-- server's clock. Who may write is another matter: the epoch in `meta` says so.

local lease, host, copy = key('lease'), key('host'), key('copy')

local function valid(value, milliseconds)
  redis.call('SET', lease, value, 'PX', milliseconds)
end

-- Takes the lease if it is free, has ended, or has the value `stale`, and raises the epoch.
function methods.take(args)
  local from = redis.call('HGET', copy, 'from')
  if from then return {'copy', from} end
  local record = get(meta)
  if record and record.schema ~= args.schema then return {'schema', record.schema or ''} end
  local value = redis.call('GET', lease)
  if value and value ~= args.stale then return {'held', value, redis.call('HGET', host, 'holder') or ''} end
  local epoch = next_number('epoch')
  set(meta, {token = '0', link = '0', schema = args.schema})
  emit('host_started', args.now, json('version', text(args.version), 'pid', args.pid))
  note('HSET', host, 'holder', args.holder)
  commit()
  valid(epoch .. '.0', args.valid)
  return {'taken', epoch, newest_number('writes'), newest_number('event')}
end

-- Renews the lease.
function methods.renew(args)
  local known = newest_number('epoch')
  if tonumber(known) > tonumber(args.epoch) then return {'taken_over', redis.call('HGET', host, 'holder') or ''} end
  -- The server has less on record than it had confirmed.
  if known ~= args.epoch then return {'forgotten'} end
  valid(args.epoch .. '.' .. args.renewal, args.valid)
  return {'renewed'}
end

-- Records that the host has connected again. From now on nothing is accepted that it had sent over
-- an earlier connection.
function methods.connected(args)
  local is_newer = tonumber(newest_number('link')) < tonumber(args.number)
  if newest_number('epoch') == args.epoch and is_newer then redis.call('HSET', meta, 'link', args.number) end
  return {}
end

-- Gives the lease back.
function methods.release(args)
  if newest_number('epoch') == args.epoch then redis.call('DEL', lease, host) end
  return {}
end

-- Records what this host says about itself.
function methods.announce(args)
  if newest_number('epoch') == args.epoch then redis.call('HSET', host, 'holder', args.holder) end
  return {}
end

-- Returns the store that the records are to become a copy of, the schema and the counters of the
-- records, and what the host that has the lease says about itself; nothing if there are no records.
function methods.look()
  local record, from = get(meta), redis.call('HGET', copy, 'from')
  if not record and not from then return {} end
  local holder = redis.call('EXISTS', lease) == 1 and redis.call('HGET', host, 'holder')
  return {
    from or '', record and record.schema or '', newest_number('epoch'), newest_number('writes'), newest_number('event'),
    holder or '',
  }
end

-- Makes these keys the place of a copy of the store `from`, unless another process has them, or
-- there are records. One copy with another token takes the place of an earlier one.
function methods.reserve(args)
  local value = redis.call('GET', lease)
  if value and value ~= args.stale then return {'held', value, redis.call('HGET', host, 'holder') or ''} end
  if get(meta) and redis.call('EXISTS', copy) == 0 then return {'records'} end
  redis.call('HSET', copy, 'from', args.from, 'token', args.token)
  redis.call('HSET', host, 'holder', args.holder)
  valid(args.token, args.valid)
  return {'reserved'}
end

return methods[ARGV[1]](cjson.decode(ARGV[2]))
