-- admit: may this relay be tried now?
-- KEYS     breaker, its failures, its probes
-- ARGV     who asks, ms after which a probe that was not heard of is taken for dead, most probes at once
-- ANSWERS  closed | half_open | open | held, epoch, ms until asking again makes sense (0: go on)
-- PARTS    clock sound breaker
local who, patience, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREM', KEYS[3], '') -- needs no memory: from here on a full server refuses nothing to this script
local breaker = read_breaker(KEYS[1])
if breaker.state == 'closed' then return {'closed', breaker.epoch, 0} end
if breaker.held then return {'held', breaker.epoch, LONG} end
if breaker.state == 'open' then
  -- Before it was opened only a clock can be that was set back.
  if NOW < breaker.till and NOW >= breaker.since then
    return {'open', breaker.epoch, math.ceil(breaker.till - NOW)}
  end
  breaker.epoch = move(KEYS, breaker, 'half_open')
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(NOW))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. int(NOW + patience), '+inf')
if redis.call('ZCARD', KEYS[3]) < most or redis.call('ZSCORE', KEYS[3], who) then
  redis.call('ZADD', KEYS[3], int(NOW + patience), who)
  return {'half_open', breaker.epoch, 0}
end
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
return {'half_open', breaker.epoch, math.max(1, math.min(1000, math.ceil(first[2] - NOW)))}
