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

-- release: give back claims that were not attempted, no attempt burnt; and leave the lane alone for a while if asked.
-- KEYS     lane, a record for each mail
-- ARGV     ms of the first pause or '' for none, ms of the longest pause, reason; for each mail: id, fence
-- ANSWERS  mails given back
-- PARTS    lane clock room queue bell
local released = 0
for n = 1, #KEYS - 8 do
  local record, id, fence = KEYS[8 + n], ARGV[2 + 2 * n], ARGV[3 + 2 * n]
  local state, held, phase, priority, accepted =
    unpack(redis.call('HMGET', record, 'state', 'fence', 'phase', 'priority', 'accepted'))
  -- Marked means perhaps sent: such a claim runs out, so that the next attempt is flagged.
  if state == 'sending' and held == fence and not phase then
    redis.call('ZREM', CLAIMS, id)
    redis.call('HINCRBY', record, 'attempts', -1)
    redis.call('HSET', record, 'state', 'ready')
    line_up(id, rank_of(priority), tonumber(accepted) or NOW)
    released = released + 1
  end
end
if ARGV[1] ~= '' then
  local failures = tonumber(redis.call('HGET', PAUSE, 'failures') or 0)
  local left = paused()
  -- Workers that meet the same outage at once count as one failure.
  local doublings = left > 0 and failures - 1 or failures
  local pause = math.min(ARGV[1] * 2 ^ doublings, tonumber(ARGV[2]))
  redis.call('HSET', PAUSE, 'failures', doublings + 1, 'until', int(NOW + math.max(left, pause)), 'reason', ARGV[3])
end
return released
