-- recall: leave to send through a relay that was given before its breaker was moved by hand is worth nothing any more.
-- KEYS     lane
-- ARGV     relay, epoch of the breaker since, or '' to recall nothing; ms for which such leave may still be in use
-- ANSWERS  1
-- PARTS    lane clock room bell recalled
local relay, epoch, ms = unpack(ARGV)
if epoch == '' then
  redis.call('HDEL', RECALLED, relay)
else
  redis.call('HSET', RECALLED, relay, epoch)
  redis.call('PEXPIRE', RECALLED, ms)
end
return 1
