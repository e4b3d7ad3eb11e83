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

-- recover: put mails whose worker died first in line again, and ring the bell if there is work that nobody was told of.
-- KEYS     lane
-- ARGV     most mails, hold mails in doubt 0|1, bell ttl ms, ms to keep the record of an ended mail
-- ANSWERS  mails put in line, mails expired, mails in doubt, more waiting 0|1, bell due 0|1
-- PARTS    lane clock room queue bell ending history
local most, is_hold, keep = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[4]
local recovered, expired, in_doubt = 0, 0, 0

local lost = redis.call('ZRANGEBYSCORE', CLAIMS, '-inf', int(NOW), 'LIMIT', 0, most)
for _, id in ipairs(lost) do
  local record = record_of(id)
  local state, phase, letters, accepted, expires =
    unpack(redis.call('HMGET', record, 'state', 'phase', 'recipients', 'accepted', 'expires'))
  local is_expired = expires and tonumber(expires) <= NOW
  if state ~= 'sending' then
    redis.call('ZREM', CLAIMS, id)
  elseif phase == 'dot' and (is_hold or is_expired) then
    -- Perhaps delivered, and not to be sent again: only a person can tell.
    redis.call('HSET', record, 'recipients', (string.gsub(letters, 'p', 'i')), 'error', 'lost at the final dot')
    note(record, 'in doubt')
    finish(record, id, 'in_doubt', keep)
    in_doubt = in_doubt + 1
  elseif is_expired then
    redis.call('HSET', record, 'error', 'expired')
    note(record, 'expired')
    finish(record, id, 'expired', keep)
    expired = expired + 1
  else
    if phase == 'dot' then
      redis.call('HINCRBY', record, 'possible_duplicates', 1)
      redis.call('HINCRBY', COUNTS, 'possible_duplicates', 1)
    end
    redis.call('ZREM', CLAIMS, id)
    redis.call('HDEL', record, 'phase')
    -- With the fence moved on, a worker that was only slow finds its claim lost.
    redis.call('HINCRBY', record, 'fence', 1)
    redis.call('HSET', record, 'state', 'ready')
    note(record, 'recovered')
    line_up(id, RECOVERED, tonumber(accepted) or NOW)
    recovered = recovered + 1
  end
end
if recovered > 0 then redis.call('HINCRBY', COUNTS, 'recovered', recovered) end
return {recovered, expired, in_doubt, #lost == most and 1 or 0, ring(ARGV[3])}
