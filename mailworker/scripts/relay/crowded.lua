-- crowded: the relay says that these are too many connections: whoever hears it has one too many, and what is left to
-- all is the most. Complaints of one moment halve it at most.
-- KEYS     leases: who, by when they end; how many each has; what was learnt about the most
-- ARGV     who tells, most that is configured
-- ANSWERS  the most in force, 1 if that is news
-- PARTS    clock sound links
local ONE_MOMENT = 1000
local who = ARGV[1]
redis.call('HDEL', KEYS[2], '') -- needs no memory: from here on a full server refuses nothing to this script
bury(KEYS[1], KEYS[2])
local before, seen = most_links(KEYS[3], tonumber(ARGV[2])), look_around(KEYS[2], who)
local from, least = unpack(redis.call('HMGET', KEYS[3], 'from', 'least'))
from, least = sound(from), sound(least)
if not from or not least or math.abs(NOW - from) >= ONE_MOMENT then
  from, least = int(NOW), math.max(1, math.floor(math.min(before, seen.others + seen.has) / 2))
end
local most = math.max(1, tonumber(least), math.min(before, seen.others + math.max(0, seen.has - 1)))
if seen.has > 0 and most < before then
  local mine = redis.call('HGET', KEYS[2], who)
  redis.call('HSET', KEYS[2], who, (string.gsub(mine, '^%d+', int(seen.has - 1))))
end
redis.call('HSET', KEYS[3], 'most', int(most), 'at', int(NOW), 'least', int(least), 'from', from)
return {most, most < before and 1 or 0}
