-- recover: put mails whose worker died first in line again, and ring the bell if there is work that nobody was told of.
-- KEYS     lane
-- ARGV     most mails, hold mails in doubt that say nothing themselves 0|1, bell ttl ms, how long to keep
--          ended records
-- ANSWERS  mails put in line, the ids of those that expired, of those in doubt, more waiting 0|1, bell due 0|1
-- PARTS    lane clock room queue bell reading keeping files ending history expiry quarantine recovering
local most, done = tonumber(ARGV[1]), new_recovery()
local lost = redis.call('ZRANGEBYSCORE', CLAIMS, '-inf', int(NOW), 'LIMIT', 0, most)
for _, id in ipairs(lost) do recover(id, ARGV[2] == '1', ARGV[4], '', done) end
return {done.recovered, done.expired, done.in_doubt, #lost == most and 1 or 0, ring(ARGV[3])}
