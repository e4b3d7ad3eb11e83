-- release: give back claims that were not attempted, no attempt burnt; and leave the lane alone for a while if asked.
-- KEYS     lane, a record for each mail
-- ARGV     ms of the first pause or '' for none, ms of the longest pause, reason; for each mail: id, fence
-- ANSWERS  mails given back
-- PARTS    lane clock room queue bell
local released = 0
for n = 1, #KEYS - 8 do
  local record, id, fence = KEYS[8 + n], ARGV[2 + 2 * n], ARGV[3 + 2 * n]
  local state, held, phase, priority, accepted =
    unpack(redis.call('HMGET', record, 'state', 'fence', 'phase', 'priority', 'accepted'))
  -- Marked means perhaps sent: such a claim runs out, so that the next attempt is flagged.
  if state == 'sending' and held == fence and not phase then
    redis.call('ZREM', CLAIMS, id)
    redis.call('HINCRBY', record, 'attempts', -1)
    redis.call('HSET', record, 'state', 'ready')
    line_up(id, rank_of(priority), tonumber(accepted) or NOW)
    released = released + 1
  end
end
if ARGV[1] ~= '' then
  local failures = tonumber(redis.call('HGET', PAUSE, 'failures') or 0)
  local left = paused()
  -- Workers that meet the same outage at once count as one failure.
  local doublings = left > 0 and failures - 1 or failures
  local pause = math.min(ARGV[1] * 2 ^ doublings, tonumber(ARGV[2]))
  redis.call('HSET', PAUSE, 'failures', doublings + 1, 'until', int(NOW + math.max(left, pause)), 'reason', ARGV[3])
end
return released
