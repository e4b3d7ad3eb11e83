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

-- wake: put scheduled and deferred mails that are due in line, and forget the parked ones whose records are gone.
-- KEYS     lane
-- ARGV     most mails, ms to keep the record of an ended mail
-- ANSWERS  mails put in line, mails expired, more waiting 0|1
-- PARTS    lane clock room queue ending history
local most, keep = tonumber(ARGV[1]), ARGV[2]
local woken, expired = 0, 0

local waiting = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'WITHSCORES', 'LIMIT', 0, most)
for n = 1, #waiting, 2 do
  local id, due = waiting[n], tonumber(waiting[n + 1])
  local record = record_of(id)
  local state, priority, expires = unpack(redis.call('HMGET', record, 'state', 'priority', 'expires'))
  if state ~= 'scheduled' and state ~= 'deferred' then
    redis.call('ZREM', DUE, id)
  elseif expires and tonumber(expires) <= NOW then
    redis.call('HSET', record, 'error', 'expired')
    note(record, 'expired')
    finish(record, id, 'expired', keep)
    expired = expired + 1
  else
    redis.call('ZREM', DUE, id)
    redis.call('HDEL', record, 'due')
    redis.call('HSET', record, 'state', 'ready')
    line_up(id, rank_of(priority), due)
    woken = woken + 1
  end
end
for _, parked in ipairs({DEAD, IN_DOUBT}) do
  redis.call('ZREMRANGEBYSCORE', parked, '-inf', int(NOW - keep))
end
return {woken, expired, #waiting == 2 * most and 1 or 0}
