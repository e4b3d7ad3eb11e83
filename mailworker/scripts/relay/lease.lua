-- lease: the connections that a process may have to a relay, or to a host, for the next while. Asked again, it renews.
-- KEYS     leases: who, by when they end; how many each has; what was learnt about the most
-- ARGV     who asks, how many it wants (0: none any more), how many it may take as far as others allow, how many it has
--          open and so cannot give away yet, ms of the lease, most that is configured
-- ANSWERS  how many it may have now, how many all have, the most in force, how many others wait for one
-- PARTS    clock sound links
local TURN, WAITING = 15000, 1200
local who, want, allowed, open = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lease, configured = tonumber(ARGV[5]), tonumber(ARGV[6])
redis.call('HDEL', KEYS[2], '') -- needs no memory: from here on a full server refuses nothing to this script
bury(KEYS[1], KEYS[2])
local most, seen = most_links(KEYS[3], configured), look_around(KEYS[2], who)

local may = math.max(0, math.min(want, allowed, most - seen.others))
if seen.hungry > 0 then
  -- While somebody has none, nobody keeps more than an equal share; and where there are fewer links than processes, those
  -- who had theirs longest give them to those who have waited longest.
  may = math.min(may, math.max(1, math.floor(most / (seen.holders + seen.hungry + 1))))
  local free = most - seen.others - seen.has
  if seen.has > 0 then
    if NOW - seen.since >= TURN and seen.before < seen.hungry - free then may = 0 end
  elseif seen.before >= free then
    may = 0
  end
end
-- What is still open counts until it is closed.
local has = math.max(may, math.min(open, seen.has))
if want == 0 and has == 0 then
  redis.call('ZREM', KEYS[1], who)
  redis.call('HDEL', KEYS[2], who)
else
  local since = (has > 0) == (seen.has > 0) and seen.since or NOW
  if has == 0 and NOW - since < IN_EARNEST then want = 0 end
  redis.call('ZADD', KEYS[1], int(NOW + (has > 0 and lease or math.min(lease, WAITING))), who)
  redis.call('HSET', KEYS[2], who, int(has) .. '/' .. int(want) .. '/' .. int(since))
  redis.call('PEXPIRE', KEYS[1], lease * 2)
  redis.call('PEXPIRE', KEYS[2], lease * 2)
end
return {may, has + seen.others, most, seen.hungry}
