-- release: give back claims that were not attempted, no attempt burnt; and leave the lane alone for a while if asked.
-- KEYS     lane, a record for each mail
-- ARGV     ms of the first pause or '' for none, ms of the longest pause, reason; for each mail: id, fence,
--          certainly not sent 0|1
-- ANSWERS  mails given back
-- PARTS    lane clock room queue front bell reading
local released = 0
for n = 1, #KEYS - 8 do
  local record, id, fence, is_unsent = KEYS[8 + n], ARGV[1 + 3 * n], ARGV[2 + 3 * n], ARGV[3 + 3 * n] == '1'
  local state, held, phase, priority = fields_of(record, 'state', 'fence', 'phase', 'priority')
  -- Marked means perhaps sent, unless the owner knows better: such a claim runs out, so the next attempt is flagged.
  if state == 'sending' and held == fence and (is_unsent or not phase) then
    if phase then redis.call('HDEL', record, 'phase', 'relay') end
    redis.call('ZREM', CLAIMS, id)
    add(record, 'attempts', -1)
    redis.call('HSET', record, 'state', 'ready')
    -- It has had its turn, and has not used it.
    line_up(id, rank_of(priority), front_of(rank_of(priority)))
    released = released + 1
  end
end
if ARGV[1] ~= '' and not is_by_hand() then
  local failures = tonumber(redis.call('HGET', PAUSE, 'failures') or 0)
  local left = paused()
  if left == 0 then redis.call('HDEL', PAUSE, 'kind', 'ends') end
  -- Workers that meet the same outage at once count as one failure.
  local doublings = math.max(0, left > 0 and failures - 1 or failures)
  local pause = math.min(ARGV[1] * 2 ^ doublings, tonumber(ARGV[2]))
  redis.call('HSET', PAUSE, 'failures', doublings + 1, 'until', int(NOW + math.max(left, pause)), 'since', int(NOW))
  if pause > left then
    redis.call('HSET', PAUSE, 'reason', ARGV[3])
    redis.call('HDEL', PAUSE, 'ends')
  end
end
return released
