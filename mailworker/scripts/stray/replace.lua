-- replace: put a message under another key, unless it is gone or changed.
-- KEYS     the messages, their order
-- ARGV     id, what it was, what it is to be
-- ANSWERS  1 | 0
-- PARTS    -
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
