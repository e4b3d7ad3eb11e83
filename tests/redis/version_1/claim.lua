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

-- A server at its memory limit refuses a script's commands that may need memory, but only until the script has written
-- for the first time. This write needs none, so whoever finishes mails, and so makes room, is never stopped half-way.
redis.call('ZREM', CLAIMS, '')

-- The ms for which the lane is still to be left alone.
local function paused() return math.max(0, (tonumber(redis.call('HGET', PAUSE, 'until') or 0) or 0) - NOW) end

-- 1 if there is work and nobody was told, so that whoever asked must publish a bell; else 0.
local function ring(ttl)
  if paused() > 0 or redis.call('ZCARD', READY) == 0 then return 0 end
  return redis.call('SET', BELL, '1', 'NX', 'PX', ttl) and 1 or 0
end

-- The end of a mail: out of every home, counted, told to whoever waits. Its record stays for `keep` ms.
local COUNTED_AS = {sent = 'delivered'}
local function finish(record, id, state, keep)
  for _, home in ipairs({READY, DUE, CLAIMS}) do redis.call('ZREM', home, id) end
  redis.call('HDEL', record, 'phase', 'due')
  -- What was sent is nobody's business any more; everything else may be wanted again.
  if state == 'sent' then redis.call('HDEL', record, 'payload', 'error') end
  redis.call('HSET', record, 'state', state, 'ended', int(NOW))
  if state == 'dead' then redis.call('ZADD', DEAD, int(NOW), id) end
  if state == 'in_doubt' then redis.call('ZADD', IN_DOUBT, int(NOW), id) end
  redis.call('HINCRBY', COUNTS, COUNTED_AS[state] or state, 1)
  redis.call('PEXPIRE', record, keep)
  redis.call('PUBLISH', PREFIX .. 'ended:' .. id, state)
end

-- A mail's history: lines of JSON, the last 20 of them.
local function remember(record, line)
  local history = redis.call('HGET', record, 'history')
  history = history and history .. '\n' .. line or line
  local _, breaks = string.gsub(history, '\n', '')
  if breaks >= 20 then history = string.sub(history, string.find(history, '\n', 1, true) + 1) end
  redis.call('HSET', record, 'history', history)
end

-- What happened to a mail without a worker to tell it.
local function note(record, event)
  remember(record, '{"at":' .. int(NOW) .. ',"event":"' .. event .. '"}')
end

-- claim: lease the mails first in line to one worker.
-- KEYS     lane
-- ARGV     most mails, most payload bytes (one mail may exceed them), lease ms, most attempts, answering a bell 0|1,
--          bell ttl ms, ms to keep the record of an ended mail
-- ANSWERS  ms paused, bell due 0|1, mails left in line, the mails: each id, fence, attempts, payload, envelope,
--          recipients, details, possible duplicates, priority, accepted, expires
-- PARTS    lane clock room bell ending history
local most, most_bytes, most_attempts, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[7]
local lease_until = int(NOW + ARGV[3])
if ARGV[5] == '1' then redis.call('DEL', BELL) end

local mails, bytes, is_full = {}, 0, paused() > 0
local looks = most + 1000 -- a bound on the work of one call, should many mails have expired
local function give_up(record, id, state, why)
  redis.call('HSET', record, 'error', why)
  note(record, why)
  finish(record, id, state, keep)
end

while #mails < most and looks > 0 and not is_full do
  local ids = redis.call('ZRANGE', READY, 0, most - #mails - 1)
  if #ids == 0 then break end
  looks = looks - #ids
  for _, id in ipairs(ids) do
    local record = record_of(id)
    local state, payload, envelope, recipients, details, duplicates, priority, accepted, expires, fence, attempts =
      unpack(redis.call('HMGET', record, 'state', 'payload', 'envelope', 'recipients', 'details', 'possible_duplicates',
        'priority', 'accepted', 'expires', 'fence', 'attempts'))
    attempts = tonumber(attempts or 0) + 1
    if state ~= 'ready' then
      redis.call('ZREM', READY, id)
    elseif expires and tonumber(expires) <= NOW then
      give_up(record, id, 'expired', 'expired')
    elseif not payload then
      give_up(record, id, 'dead', 'the payload is gone')
    elseif attempts > most_attempts then
      give_up(record, id, 'dead', 'more attempts than allowed')
    elseif #mails > 0 and bytes + #payload > most_bytes then
      is_full = true
      break
    else
      fence = tonumber(fence or 0) + 1
      redis.call('ZREM', READY, id)
      redis.call('ZADD', CLAIMS, lease_until, id)
      redis.call('HSET', record, 'state', 'sending', 'fence', fence, 'attempts', attempts)
      bytes = bytes + #payload
      mails[#mails + 1] = {id, fence, attempts, payload, envelope, recipients, details, duplicates, priority, accepted,
        expires}
    end
  end
end
return {paused(), ring(ARGV[6]), redis.call('ZCARD', READY), mails}
