-- A mail that no worker here can read, though another may, or will: it waits, no attempt burnt, and is listed in
-- UNREADABLE until it is settled or ends. Whoever has not come back there for minutes has been read.
local PUT_OFF = 60000

local function put_off(record, id, why, expires)
  local due = NOW + PUT_OFF
  leave(id)
  redis.call('ZADD', DUE, int(math.min(due, number(expires) or due)), id)
  redis.call('HSET', record, 'state', 'deferred', 'due', int(due), 'unreadable', '1', 'error', why)
  redis.call('ZADD', UNREADABLE, int(NOW), id)
  tally('unreadable', 1)
end
