-- Evaluations of triggers, and what their conditions have accounted for.

-- How many ticks, or notifications, are dropped at once, which keeps dropping rare and short.
local PRUNE_BATCH = 1000

-- Returns the numbers that are dropped so that at most `most` are left, a batch at a time.
local function too_old(list, newest, most)
  newest, most = tonumber(newest), tonumber(most)
  if newest % PRUNE_BATCH ~= 0 or newest + PRUNE_BATCH <= most then return {} end
  return redis.call('ZRANGEBYSCORE', list, '-inf', int(newest + PRUNE_BATCH - most))
end

-- Records an evaluation, unless it says the same as the previous one. One that fired is always
-- recorded, because it is about another run.
local function record_tick(tick)
  local last = key('ticks', 'last')
  if not tick.fired and cell(last, tick.trigger) == tick.says then return end
  set_cell(last, tick.trigger, tick.says)
  local seq, all = next_number('tick'), key('ticks', 'all')
  note('HSET', key('ticks'), seq, cjson.encode({trigger = tick.trigger, text = tick.text}))
  note('ZADD', all, seq, seq)
  note('ZADD', key('ticks', 'of', tick.trigger), seq, seq)
  for _, old in ipairs(too_old(all, seq, tick.most)) do
    local document = cell(key('ticks'), old)
    note('HDEL', key('ticks'), old)
    note('ZREM', all, old)
    if document then note('ZREM', key('ticks', 'of', cjson.decode(document).trigger), old) end
  end
end

function methods.record_tick(args)
  record_tick(args.tick)
  return {}
end

local function set_marks(marks)
  for _, mark in ipairs(marks) do
    note('HSET', key('marks'), sized(mark.trigger) .. mark.condition, mark.text)
  end
end

function methods.set_trigger_marks(args)
  note('DEL', key('marks'))
  set_marks(args.marks)
  return {}
end
