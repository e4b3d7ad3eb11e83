-- remove: take names off a list.
-- KEYS     the list, its ends
-- ARGV     names
-- ANSWERS  how many were on it
-- PARTS    -
redis.call('ZREM', KEYS[2], unpack(ARGV))
return redis.call('HDEL', KEYS[1], unpack(ARGV))
