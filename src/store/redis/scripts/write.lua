-- Executes a method that writes. ARGV[3] is the epoch of the host, ARGV[4] how many writes the
-- server has confirmed to it, ARGV[5] the number of its connection.

-- Why this host may not write; nil if it may.
local function denied()
  local epoch, known = tonumber(ARGV[3]), tonumber(newest_number('epoch'))
  if known > epoch then return {'taken_over', redis.call('HGET', key('host'), 'holder') or ''} end
  -- The server has less on record than it had confirmed.
  if known < epoch or tonumber(newest_number('writes')) < tonumber(ARGV[4]) then return {'forgotten'} end
  -- The host has connected again since it sent this: it has repeated it, and perhaps gone on.
  if tonumber(newest_number('link')) > tonumber(ARGV[5]) then return {'outdated'} end
end

local why = denied()
if why then return why end
local done, result = pcall(methods[ARGV[1]], cjson.decode(ARGV[2]))
if not done then
  -- A rule that is broken is a table, and so is an error of the server; anything else is a record
  -- that the method cannot work with.
  if type(result) == 'table' then return result end
  return redis.error_reply('BROKEN ' .. tostring(result))
end
commit()
if type(result) == 'function' then result = result() end
return {'done', newest_number('writes'), newest_number('event'), result}
