-- drop: forget messages that were put aside.
-- KEYS     the messages, their order
-- ARGV     ids
-- ANSWERS  how many were there
-- PARTS    -
redis.call('ZREM', KEYS[2], unpack(ARGV))
return redis.call('HDEL', KEYS[1], unpack(ARGV))
