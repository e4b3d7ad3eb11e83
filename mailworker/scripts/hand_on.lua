-- hand_on: a drain that heard a bell, or waited for the others, ends without a claim: let another hear one.
-- KEYS     lane
-- ARGV     who waited ('': nobody), bell ttl ms
-- ANSWERS  bell due 0|1
-- PARTS    lane clock room bell
redis.call('DEL', BELL)
if redis.call('GET', WAITER) == ARGV[1] then redis.call('DEL', WAITER) end
return ring(ARGV[2])
