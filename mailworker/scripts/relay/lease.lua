-- lease: the connections that a process may have to a relay, or to a host, for the next while. Asked again, it renews.
-- KEYS     leases: who, by when they end; how many each has; what was learnt about the most
-- ARGV     who asks, how many it wants (0: none any more), ms of the lease, most that is configured
-- ANSWERS  how many it has now, how many all have, the most in force, how many others wait for one
-- PARTS    clock links
local who, want, lease, configured = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('HDEL', KEYS[2], '') -- needs no memory: from here on a full server refuses nothing to this script
bury(KEYS[1], KEYS[2])
local most = most_links(KEYS[3], configured)
local others, holders, hungry = 0, 0, 0
local flat = redis.call('HGETALL', KEYS[2])
for n = 1, #flat, 2 do
  local has, wants = string.match(flat[n + 1], '^(%d+)/(%d+)$')
  if flat[n] ~= who then
    others, holders = others + has, holders + (tonumber(has) > 0 and 1 or 0)
    if tonumber(has) == 0 then hungry = hungry + 1 end
  end
end
local has = math.max(0, math.min(want, most - others))
-- While somebody has none, nobody keeps more than an equal share.
if hungry > 0 then has = math.min(has, math.max(1, math.floor(most / (holders + hungry + 1)))) end
if want == 0 then
  redis.call('ZREM', KEYS[1], who)
  redis.call('HDEL', KEYS[2], who)
else
  redis.call('ZADD', KEYS[1], int(NOW + lease), who)
  redis.call('HSET', KEYS[2], who, int(has) .. '/' .. int(want))
  redis.call('PEXPIRE', KEYS[1], lease * 2)
  redis.call('PEXPIRE', KEYS[2], lease * 2)
end
return {has, others + has, most, hungry}
