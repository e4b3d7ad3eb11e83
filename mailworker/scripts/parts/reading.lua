-- Records may be damaged, by a hand or another program; one of them must not stop a script half-way, nor the others.
local KNOWN_VERSION = 2
local IS_OPEN = {scheduled = true, ready = true, sending = true, deferred = true}
local IS_FINAL = {sent = true, partial = true, dead = true, in_doubt = true, expired = true, cancelled = true,
  quarantined = true}

-- Fields of a record, false for one that it lacks, as a table; nil where the key holds no hash.
local function values_of(record, ...)
  local values = redis.pcall('HMGET', record, ...)
  if not values.err then return values end
end

-- The same, one by one.
local function fields_of(record, ...)
  local values = redis.pcall('HMGET', record, ...)
  if not values.err then return unpack(values, 1, select('#', ...)) end
end

-- A number of a record; nil for none, and for what no number of ours can be.
local function number(text)
  local value = tonumber(text or nil)
  if value and value > -1e15 and value < 1e15 then return value end
end

-- HINCRBY, which does not fail on what is no number.
local function add(record, field, by)
  if type(redis.pcall('HINCRBY', record, field, by)) == 'table' then redis.call('HSET', record, field, by) end
end

-- What makes a mail useless that stands in line; false for nothing. Its numbers are the first so many of its values.
local function flaw_of(payload, letters, values, numbers)
  if not payload then return 'the payload is gone' end
  if letters ~= 'p' and not (letters and string.find(letters, '^[pdbi]*p[pdbi]*$')) then
    return 'its recipients make no sense'
  end
  for n = 1, numbers do
    if values[n] and not number(values[n]) then return 'one of its numbers makes no sense' end
  end
  return false
end
