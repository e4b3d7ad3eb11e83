-- The lane's keys: the same eight, in the same order, for every script.
local READY, DUE, CLAIMS, DEAD, IN_DOUBT, BELL, PAUSE, COUNTS = unpack(KEYS, 1, 8)
local PREFIX = string.sub(READY, 1, -6)

-- The record of a mail that the script itself took from one of the lane's sets: same hash tag, same Cluster slot.
local function record_of(id) return PREFIX .. 'm:' .. id end

-- The only clock of the ledger, in ms since the epoch.
local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

-- Lua would write large numbers as 1.7e+12, which Redis does not read as an integer.
local function int(number) return string.format('%.0f', number) end

-- The ready queue: rank first, then time; equal times in order of the ids, which begin with the time they were made.
local RECOVERED = 0
local function rank_of(priority) return 1 + (tonumber(priority) or 0) end
local function line_up(id, rank, ms) redis.call('ZADD', READY, int(rank * 1e13 + ms), id) end

-- The ms for which the lane is still to be left alone.
local function paused() return math.max(0, (tonumber(redis.call('HGET', PAUSE, 'until') or 0) or 0) - NOW) end

-- 1 if there is work and nobody was told, so that whoever asked must publish a bell; else 0.
local function ring(ttl)
  if paused() > 0 or redis.call('ZCARD', READY) == 0 then return 0 end
  return redis.call('SET', BELL, '1', 'NX', 'PX', ttl) and 1 or 0
end

-- accept: write new mails into the ledger, and into the queue or the schedule; all of them or none.
-- KEYS     lane, a record for each mail, a key for each mail that has an idempotency key
-- ARGV     bell ttl ms, ttl ms of an idempotency key, number of mails; for each mail: id, payload, envelope, letters of
--          its recipients, priority, due, expires, digest of its idempotency key. What is missing is ''.
--          due and expires: '+n' is n ms from now, 'n' is n ms since the epoch.
-- ANSWERS  bell due 0|1; for each mail: accepted | already | duplicate, and the id of the mail that stands
-- PARTS    lane clock queue bell
-- NOTE     No write may come before the first HSET: refused there for lack of memory, the call has done nothing.
local FIELDS = 8

local function moment(text)
  if text == '' then return nil end
  if string.sub(text, 1, 1) == '+' then return NOW + tonumber(text) end
  return tonumber(text)
end

local mails, accepted, keyed = tonumber(ARGV[3]), 0, 0
local answer, is_work = {0}, false
for n = 1, mails do
  local first = 4 + (n - 1) * FIELDS
  local id, payload, envelope, letters, priority, due_in, expires_in, digest = unpack(ARGV, first, first + FIELDS - 1)
  local record, key, owner = KEYS[8 + n], nil, false
  if digest ~= '' then
    keyed = keyed + 1
    key = KEYS[8 + mails + keyed]
    owner = redis.call('GET', key)
  end
  if redis.call('EXISTS', record) == 1 then
    answer[#answer + 1], answer[#answer + 2] = 'already', id
  elseif owner and owner ~= id then
    answer[#answer + 1], answer[#answer + 2] = 'duplicate', owner
  else
    local due, expires = moment(due_in), moment(expires_in)
    local is_later = due and due > NOW
    local fields = {'version', '1', 'state', is_later and 'scheduled' or 'ready', 'accepted', int(NOW)}
    local function keep(name, value)
      if value ~= '' then fields[#fields + 1] = name; fields[#fields + 1] = value end
    end
    keep('payload', payload); keep('envelope', envelope); keep('recipients', letters)
    keep('priority', priority); keep('key', digest)
    keep('due', is_later and int(due) or ''); keep('expires', expires and int(expires) or '')
    redis.call('HSET', record, unpack(fields))
    if key then redis.call('SET', key, id, 'PX', ARGV[2]) end
    if is_later then
      -- A mail that expires on the schedule is looked at then, not when it would have been due.
      redis.call('ZADD', DUE, int(math.min(due, expires or due)), id)
    else
      line_up(id, rank_of(priority), NOW)
      is_work = true
    end
    accepted = accepted + 1
    answer[#answer + 1], answer[#answer + 2] = 'accepted', id
  end
end
if accepted > 0 then redis.call('HINCRBY', COUNTS, 'accepted', accepted) end
if is_work then answer[1] = ring(ARGV[1]) end
return answer
