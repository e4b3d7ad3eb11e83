-- wake: put scheduled and deferred mails that are due in line, and forget the parked ones whose records are gone.
-- KEYS     lane
-- ARGV     most mails, ms to keep the record of an ended mail
-- ANSWERS  mails put in line, the ids of those that expired, more waiting 0|1
-- PARTS    lane clock room queue ending history expiry
local most, keep = tonumber(ARGV[1]), ARGV[2]
local woken, expired = 0, {}

local waiting = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'WITHSCORES', 'LIMIT', 0, most)
for n = 1, #waiting, 2 do
  local id, due = waiting[n], tonumber(waiting[n + 1])
  local record = record_of(id)
  local state, priority, expires = unpack(redis.call('HMGET', record, 'state', 'priority', 'expires'))
  if state ~= 'scheduled' and state ~= 'deferred' then
    redis.call('ZREM', DUE, id)
  elseif expires and tonumber(expires) <= NOW then
    expire(record, id, keep)
    expired[#expired + 1] = id
  else
    redis.call('ZREM', DUE, id)
    redis.call('HDEL', record, 'due')
    redis.call('HSET', record, 'state', 'ready')
    line_up(id, rank_of(priority), due)
    woken = woken + 1
  end
end
for _, parked in ipairs({DEAD, IN_DOUBT}) do
  redis.call('ZREMRANGEBYSCORE', parked, '-inf', int(NOW - keep))
end
return {woken, expired, #waiting == 2 * most and 1 or 0}
