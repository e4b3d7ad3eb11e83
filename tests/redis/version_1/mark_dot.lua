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

-- mark_dot: record that final dots are about to be written. Whoever gets a 0 has lost the mail and must not send it.
-- KEYS     lane, a record for each mail
-- ARGV     lease ms; for each mail: id, fence
-- ANSWERS  for each mail: 1 marked, lease extended | 0
-- PARTS    lane clock room
local lease_until = int(NOW + ARGV[1])
local answer = {}
for n = 1, #KEYS - 8 do
  local record, id, fence = KEYS[8 + n], ARGV[2 * n], ARGV[2 * n + 1]
  local state, held = unpack(redis.call('HMGET', record, 'state', 'fence'))
  if state == 'sending' and held == fence then
    redis.call('HSET', record, 'phase', 'dot')
    redis.call('ZADD', CLAIMS, lease_until, id)
    answer[n] = 1
  else
    answer[n] = 0
  end
end
return answer
