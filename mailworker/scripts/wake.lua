-- wake: put scheduled and deferred mails that are due in line, and forget the parked ones whose time is over.
-- KEYS     lane
-- ARGV     most mails, how long to keep ended records
-- ANSWERS  mails put in line, the ids of those that expired, more waiting 0|1
-- PARTS    lane clock room queue reading keeping ending history expiry quarantine unreadable
local most, keep = tonumber(ARGV[1]), ARGV[2]
local woken, expired = 0, {}

local waiting = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'WITHSCORES', 'LIMIT', 0, most)
for n = 1, #waiting, 2 do
  local id, due = waiting[n], tonumber(waiting[n + 1])
  local record = record_of(id)
  local state, priority, expires = fields_of(record, 'state', 'priority', 'expires')
  if state ~= 'scheduled' and state ~= 'deferred' then
    misplaced(record, id, state, DUE, keep)
  elseif not is_number(expires) then
    quarantine(record, id, 'one of its numbers makes no sense', keep)
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
for state in pairs(IS_FINAL) do
  if state ~= 'sent' then redis.call('ZREMRANGEBYSCORE', PREFIX .. state, '-inf', int(NOW - kept(state, keep))) end
end
redis.call('ZREMRANGEBYSCORE', UNREADABLE, '-inf', int(NOW - 3 * PUT_OFF))
return {woken, expired, #waiting == 2 * most and 1 or 0}
