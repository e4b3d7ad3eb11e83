-- crowded: the relay says that these are too many connections. One less than all have now is the most.
-- KEYS     leases: who, by when they end; how many each has; what was learnt about the most
-- ARGV     most that is configured
-- ANSWERS  the most in force
-- PARTS    clock links
local ONE_COMPLAINT = 1000
redis.call('HDEL', KEYS[2], '') -- needs no memory: from here on a full server refuses nothing to this script
bury(KEYS[1], KEYS[2])
local most = most_links(KEYS[3], tonumber(ARGV[1]))
-- Workers that hear the same complaint at once tell of one.
if NOW - tonumber(redis.call('HGET', KEYS[3], 'at') or 0) < ONE_COMPLAINT then return most end
local all = 0
for _, each in ipairs(redis.call('HVALS', KEYS[2])) do all = all + tonumber(string.match(each, '^(%d+)')) end
most = math.max(1, math.min(most, all) - 1)
redis.call('HSET', KEYS[3], 'most', int(most), 'at', int(NOW))
return most
