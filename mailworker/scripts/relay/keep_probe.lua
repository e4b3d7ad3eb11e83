-- keep_probe: a probe is still under way.
-- KEYS     breaker, its failures, its probes
-- ARGV     whose it is, its epoch, ms after which it is taken for dead if it is not heard of again
-- ANSWERS  1, or 0 where it is not awaited any more
-- PARTS    clock sound breaker
local who, epoch, patience = unpack(ARGV)
redis.call('ZREM', KEYS[3], '') -- needs no memory: from here on a full server refuses nothing to this script
if read_breaker(KEYS[1]).epoch ~= tonumber(epoch) or not redis.call('ZSCORE', KEYS[3], who) then return 0 end
redis.call('ZADD', KEYS[3], int(NOW + patience), who)
return 1
