-- switch: move a breaker by hand: open it for a while, hold it open, close it, or have an open one tried now.
-- KEYS     breaker, its failures, its probes
-- ARGV     open | held | closed | retry, ms that it stays open, reason; ms for which a retry leaves it as it is
-- ANSWERS  state before
-- PARTS    clock sound breaker
local wanted, ms, reason, calm = unpack(ARGV)
local breaker = read_breaker(KEYS[1])
local before = breaker.held and 'held' or breaker.state
if wanted == 'retry' then
  -- Workers that start again and again must not make it try again and again.
  if before ~= 'open' or math.abs(NOW - breaker.since) < tonumber(calm) then return before end
  redis.call('HSET', KEYS[1], 'till', '0')
  return before
end
local state = wanted == 'closed' and 'closed' or 'open'
move(KEYS, breaker, state, state == 'open' and NOW + ms or 0, reason, wanted == 'held')
return before
