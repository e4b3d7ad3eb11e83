-- The end of a mail: counted, told to whoever waits. Its record stays for `keep` ms, and a week at least while callbacks
-- are due: UNTOLD keeps them safe from a crash between the end and its telling.
local A_WEEK = 7 * 86400000
local COUNTED_AS = {sent = 'delivered'}
local function close(record, id, state, keep, ...)
  -- What was sent is nobody's business any more; everything else may be wanted again.
  redis.call('HDEL', record, 'phase', 'due', unpack(state == 'sent' and {'payload', 'error'} or {}))
  redis.call('HSET', record, 'state', state, 'ended', int(NOW), ...)
  if state == 'dead' then redis.call('ZADD', DEAD, int(NOW), id) end
  if state == 'in_doubt' then redis.call('ZADD', IN_DOUBT, int(NOW), id) end
  if redis.call('HEXISTS', record, 'callbacks') == 1 then
    redis.call('ZADD', UNTOLD, int(NOW), id)
    keep = int(math.max(keep, A_WEEK))
  end
  redis.call('PEXPIRE', record, keep)
  redis.call('PUBLISH', PREFIX .. 'ended:' .. id, state)
end

-- Out of every home.
local function leave(id)
  for _, home in ipairs({READY, DUE, CLAIMS}) do redis.call('ZREM', home, id) end
end

local function finish(record, id, state, keep)
  leave(id)
  close(record, id, state, keep)
  redis.call('HINCRBY', COUNTS, COUNTED_AS[state] or state, 1)
end
