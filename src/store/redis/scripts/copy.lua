-- Executes a method of a copy. ARGV[3] is the token of the copy that these records are to become,
-- '' if they are those of a store that is copied; ARGV[4] says how many writes there were.

local function why_not()
  if ARGV[3] ~= '' then
    if redis.call('HGET', key('copy'), 'token') ~= ARGV[3] then return {'lost'} end
    -- A renewed lease has another value.
    local now = redis.call('TIME')
    redis.call('SET', key('lease'), ARGV[3] .. '.' .. now[1] .. '.' .. now[2], 'PX', ARGV[5])
  end
  if newest_number('writes') ~= ARGV[4] then return {'changed'} end
end

local why = why_not()
if why then return why end
local done, result = pcall(methods[ARGV[1]], cjson.decode(ARGV[2]))
if not done then
  if type(result) == 'table' then return result end
  return redis.error_reply('BROKEN ' .. tostring(result))
end
commit()
return {'done', newest_number('writes'), result}
