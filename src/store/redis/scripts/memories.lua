-- What is remembered of attempts whose results others can take.

local memories = {}

function memories.key(name)
  return key('memory', name)
end

-- Whether the result of an attempt can be taken: it has succeeded, or is certain to, because it has
-- taken the result of another one.
function memories.has_result(attempt)
  return attempt and (attempt.state == 'succeeded' or attempt.cached_from)
end

-- Lists a memory, by the attempt that has the result.
function memories.list(action, name, attempt)
  note('ZADD', key('memories'), attempt, name)
  note('ZADD', key('memories', action), attempt, name)
end

function memories.forget(action, name)
  note('ZREM', key('memories'), name)
  note('ZREM', key('memories', action), name)
  note('DEL', memories.key(name))
end

-- Records what the cache has to say about an attempt that ends. `became` maps artifacts to their
-- ids on record.
function memories.note(attempt, ended, became)
  if not ended.cache then return end
  set(key('attempt', attempt.seq), {cache = ended.cache.reason})
  local memory = ended.cache.memory
  if not memory or ended.state ~= 'succeeded' then return end
  -- Only as a text, because Lua would round the numbers in it.
  local document = memory.text
  for id, known in pairs(became) do
    document = string.gsub(document, (string.gsub(id, '%-', '%%-')), known)
  end
  local name, list = memory.name, key('memories', attempt.action)
  set(key('attempt', attempt.seq), {memory = name})
  set(memories.key(name), {attempt = attempt.seq, action = attempt.action, memory = document})
  memories.list(attempt.action, name, attempt.seq)
  if not memory.forget then return end
  for _, old in ipairs(redis.call('ZREVRANGE', list, int(tonumber(memory.most) - 1), -1)) do
    if old ~= name then memories.forget(attempt.action, old) end
  end
end
