-- mark_dot: record that final dots are about to be written. Whoever gets a 0 has lost the mail and must not send it.
-- KEYS     lane, a record for each mail
-- ARGV     lease ms; for each mail: id, fence
-- ANSWERS  for each mail: 1 marked, lease extended | 0
-- PARTS    lane clock room
local lease_until = int(NOW + ARGV[1])
local answer = {}
for n = 1, #KEYS - 8 do
  local record, id, fence = KEYS[8 + n], ARGV[2 * n], ARGV[2 * n + 1]
  local state, held = unpack(redis.call('HMGET', record, 'state', 'fence'))
  if state == 'sending' and held == fence then
    redis.call('HSET', record, 'phase', 'dot')
    redis.call('ZADD', CLAIMS, lease_until, id)
    answer[n] = 1
  else
    answer[n] = 0
  end
end
return answer
