-- no_token: note that no token could be fetched, so that others do not ask for one at once.
-- KEYS     the token
-- ARGV     who tried, ms in which nobody tries again, reason
-- ANSWERS  1, or 0 where somebody else is trying
-- PARTS    clock
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
if redis.call('HGET', KEYS[1], 'fetcher') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'fetcher', 'leave')
redis.call('HSET', KEYS[1], 'hold', int(NOW + ARGV[2]), 'reason', ARGV[3])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], 86400000) end
return 1
