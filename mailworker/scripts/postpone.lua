-- postpone: put claims that a limit keeps back on the schedule, no attempt burnt.
-- KEYS     lane, a record for each mail
-- ARGV     for each mail: id, fence, ms
-- ANSWERS  mails put off
-- PARTS    lane clock room reading
local postponed = 0
for n = 1, #KEYS - 8 do
  local record, id, fence, wait = KEYS[8 + n], ARGV[3 * n - 2], ARGV[3 * n - 1], ARGV[3 * n]
  local state, held, phase, expires = fields_of(record, 'state', 'fence', 'phase', 'expires')
  if state == 'sending' and held == fence and not phase then
    local due = NOW + wait
    redis.call('ZREM', CLAIMS, id)
    add(record, 'attempts', -1)
    redis.call('ZADD', DUE, int(math.min(due, number(expires) or due)), id)
    redis.call('HSET', record, 'state', 'deferred', 'due', int(due))
    postponed = postponed + 1
  end
end
return postponed
