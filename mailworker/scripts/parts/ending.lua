-- The end of a mail: out of every home, counted, told to whoever waits. Its record stays for `keep` ms.
local COUNTED_AS = {sent = 'delivered'}
local function finish(record, id, state, keep)
  for _, home in ipairs({READY, DUE, CLAIMS}) do redis.call('ZREM', home, id) end
  redis.call('HDEL', record, 'phase', 'due')
  -- What was sent is nobody's business any more; everything else may be wanted again.
  if state == 'sent' then redis.call('HDEL', record, 'payload', 'error') end
  redis.call('HSET', record, 'state', state, 'ended', int(NOW))
  if state == 'dead' then redis.call('ZADD', DEAD, int(NOW), id) end
  if state == 'in_doubt' then redis.call('ZADD', IN_DOUBT, int(NOW), id) end
  redis.call('HINCRBY', COUNTS, COUNTED_AS[state] or state, 1)
  redis.call('PEXPIRE', record, keep)
  redis.call('PUBLISH', PREFIX .. 'ended:' .. id, state)
end
