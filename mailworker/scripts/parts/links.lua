-- Who may be connected: a sorted set of holders by the end of their leases, and a hash `has/wants` of each. What was
-- learnt of the most: `most`, and `at`, when. Each quiet while it grows by one again.
local QUIET = 300000

local function bury(leases, held)
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', int(NOW))) do
    redis.call('ZREM', leases, dead)
    redis.call('HDEL', held, dead)
  end
end

local function most_links(learnt, configured)
  local most, at = unpack(redis.call('HMGET', learnt, 'most', 'at'))
  if not most then return configured end
  most = most + math.floor(math.max(0, NOW - at) / QUIET)
  if most >= configured then redis.call('DEL', learnt) end
  return math.min(most, configured)
end
