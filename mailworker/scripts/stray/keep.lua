-- keep: put a message aside that is not ours. One that is kept already stays as it is.
-- KEYS     the messages, their order
-- ARGV     id, sealed message
-- ANSWERS  1, or 0 if it was there
-- PARTS    clock
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
return redis.call('ZADD', KEYS[2], int(NOW), ARGV[1])
