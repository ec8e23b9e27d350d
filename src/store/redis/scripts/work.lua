-- The work of one method. It reads what it needs, and only notes what it writes; the writes are
-- executed at its end, all of them, so a rule that is broken on the way leaves nothing. Redis rolls
-- back nothing itself.
--
-- KEYS[1] is the prefix of all keys, which has the hash tag. ARGV[1] is the name of the method,
-- ARGV[2] its arguments as JSON. Numbers are texts there, and absent values are left out, because
-- Lua has neither integers nor a null that is false.

local prefix = KEYS[1]
local methods = {}

-- The key of something: its kind, and what tells it apart.
local function key(...)
  return prefix .. ':' .. table.concat({...}, ':')
end

-- A part of a key that is followed by another one.
local function sized(text)
  return #text .. ':' .. text
end

-- A number as a text. `..` would round it to 14 digits.
local function int(number)
  return string.format('%.0f', number)
end

-- Ends the work: what it asks for is refused.
local function refuse(kind, ...)
  error({kind, ...}, 0)
end

-- What is written at the end.
local noted = {}

local function note(...)
  noted[#noted + 1] = {...}
end

-- The fields of hashes, as the work leaves them. `false` stands for a hash that does not exist.
local records = {}

-- Returns the fields of a hash; nil if it does not exist.
local function get(name)
  local record = records[name]
  if record == nil then
    local flat = redis.call('HGETALL', name)
    record = #flat > 0 and {} or false
    for at = 1, #flat, 2 do
      record[flat[at]] = flat[at + 1]
    end
    records[name] = record
  end
  return record or nil
end

-- Sets fields of a hash. `false` removes a field.
local function set(name, fields)
  local record = get(name) or {}
  records[name] = record
  local command = {'HSET', name}
  for field, value in pairs(fields) do
    if value == false then
      if record[field] then note('HDEL', name, field) end
      record[field] = nil
    else
      if type(value) == 'number' then value = int(value) end
      record[field] = value
      command[#command + 1] = field
      command[#command + 1] = value
    end
  end
  if #command > 2 then noted[#noted + 1] = command end
end

-- Single fields of hashes that are too large to be read as a whole.
local cells = {}

-- Returns a field of a large hash; nil if it does not exist.
local function cell(name, field)
  local known = cells[name]
  if not known then
    known = {}
    cells[name] = known
  end
  if known[field] == nil then known[field] = redis.call('HGET', name, field) end
  return known[field] or nil
end

-- Sets a field of a large hash. `false` removes it.
local function set_cell(name, field, value)
  cells[name] = cells[name] or {}
  if type(value) == 'number' then value = int(value) end
  cells[name][field] = value
  if value then
    note('HSET', name, field, value)
  else
    note('HDEL', name, field)
  end
end

local meta = key('meta')

-- The next number of a counter.
local function next_number(counter)
  local record = get(meta) or {}
  records[meta] = record
  record[counter] = int(tonumber(record[counter] or 0) + 1)
  note('HSET', meta, counter, record[counter])
  return record[counter]
end

-- The last number of a counter that was given.
local function newest_number(counter)
  local record = get(meta)
  return record and record[counter] or '0'
end

-- A text as JSON.
local text = cjson.encode

-- A text as JSON, or null.
local function maybe(value)
  return value and text(value) or 'null'
end

-- A JSON object of names and values that are JSON already.
local function json(...)
  local parts, all = {}, {...}
  for at = 1, #all, 2 do
    parts[#parts + 1] = '"' .. all[at] .. '":' .. all[at + 1]
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- Writes an event under the next number. `about` names the run, action, attempt and artifact.
local function emit(kind, now, data, about)
  local seq = next_number('event')
  local command = {'XADD', key('events'), seq .. '-0', 'k', kind, 't', now, 'e', newest_number('epoch'), 'd', data}
  for short, name in pairs({r = 'run', a = 'action', m = 'attempt', f = 'artifact'}) do
    local value = about and about[name]
    if value then
      command[#command + 1] = short
      command[#command + 1] = value
    end
  end
  noted[#noted + 1] = command
  if about and about.run then note('ZADD', key('events', about.run), seq, seq) end
  return seq
end

-- Writes what was noted.
local function commit()
  if #noted > 0 then next_number('writes') end
  for _, command in ipairs(noted) do
    redis.call(unpack(command))
  end
end
