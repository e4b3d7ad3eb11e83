-- record: what became of a relay that was admitted. Whoever was admitted in an earlier epoch is not listened to.
-- KEYS     breaker, its failures, its probes
-- ARGV     who tells, epoch, 1 it went well, 0 it failed, '' it was not tried; failures that open it, ms in which they
--          count, ms that it stays open, successes that close it, reason, 1 to open it at once
-- ANSWERS  state before, state now, ms until it is tried again
-- PARTS    clock sound breaker
local who, epoch, well, threshold, window, recovery, enough, reason, at_once = unpack(ARGV)
redis.call('ZREM', KEYS[3], '') -- needs no memory: from here on a full server refuses nothing to this script
local breaker = read_breaker(KEYS[1])
local before = breaker.state
local function answer(state, till) return {before, state, math.max(0, math.ceil((till or breaker.till) - NOW))} end

if tonumber(epoch) ~= breaker.epoch or breaker.held then return answer(before) end
redis.call('ZREM', KEYS[3], who)
if well == '' then return answer(before) end
local function open()
  local till = NOW + recovery
  move(KEYS, breaker, 'open', till, reason)
  return answer('open', till)
end
if well == '1' then
  if before ~= 'half_open' then return answer(before) end
  if redis.call('HINCRBY', KEYS[1], 'successes', 1) < tonumber(enough) then return answer(before) end
  move(KEYS, breaker, 'closed')
  return answer('closed', NOW)
end
if before == 'half_open' or at_once == '1' then return open() end
-- The last so many failures are enough to know whether that many fell into the window.
redis.call('LPUSH', KEYS[2], int(NOW))
redis.call('LTRIM', KEYS[2], 0, threshold - 1)
redis.call('PEXPIRE', KEYS[2], window)
local oldest = redis.call('LINDEX', KEYS[2], threshold - 1)
if oldest and math.abs(NOW - oldest) < tonumber(window) then return open() end
return answer(before)
