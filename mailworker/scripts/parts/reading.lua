-- Records may be damaged, by a hand or another program; one of them must not stop a script half-way, nor the others.
local KNOWN_VERSION = 2
local IS_OPEN = {scheduled = true, ready = true, sending = true, deferred = true}
local IS_FINAL = {sent = true, partial = true, dead = true, in_doubt = true, expired = true, cancelled = true,
  quarantined = true}

-- Fields of a record, false for one that it lacks; nothing at all where the key holds no hash.
local function fields_of(record, ...)
  local values = redis.pcall('HMGET', record, ...)
  if not values.err then return unpack(values, 1, select('#', ...)) end
end

-- Whether a field can be a number of ours, which is also: is not there.
local function is_number(text) return not text or (#text < 16 and string.find(text, '^%-?%d+$') ~= nil) end

-- A number of a record that was not looked at before; nil for none.
local function number(text) return is_number(text) and tonumber(text or nil) or nil end

-- HINCRBY, which does not fail on what is no number.
local function add(record, field, by)
  if type(redis.pcall('HINCRBY', record, field, by)) == 'table' then redis.call('HSET', record, field, by) end
end

-- What makes a mail useless that stands in line; false for nothing. Takes all its numbers.
local function flaw_of(payload, letters, ...)
  if not payload then return 'the payload is gone' end
  if not letters or not string.find(letters, '^[pdbi]*p[pdbi]*$') then return 'its recipients make no sense' end
  for n = 1, select('#', ...) do
    if not is_number((select(n, ...))) then return 'one of its numbers makes no sense' end
  end
  return false
end
