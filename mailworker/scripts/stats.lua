-- stats: what a lane holds at one moment. Writes nothing.
-- KEYS     lane
-- ARGV     -
-- ANSWERS  numbers of mails: ready, due, claims, dead, in doubt, quarantined, unreadable; ms since the
--          oldest ready mail was accepted or due, -1 if there is none; ms paused; failures, reason of the
--          pause; the counters: name, number, ...; 1 if a person has paused it, else 0; ms until the reason of the
--          pause ends, -1 if nobody knows
-- PARTS    lane clock queue bell reading unreadable
local oldest, looked_at = nil, 500
for rank = 0, 10 do
  -- A tenant's first mail is his oldest, and none of these is more than a step from the front.
  local from, to = int(rank * 1e13), int((rank + 1) * 1e13 - 1)
  local near = int(rank * 1e13 + (redis.call('HGET', TURNS, rank) or 0) + STEP)
  local ids = redis.call('ZRANGEBYSCORE', READY, from, near, 'LIMIT', 0, looked_at)
  if #ids == 0 then ids = redis.call('ZRANGEBYSCORE', READY, from, to, 'LIMIT', 0, 1) end
  for _, id in ipairs(ids) do
    local accepted, due = fields_of(record_of(id), 'accepted', 'due')
    local since = number(due) or number(accepted) or NOW
    oldest = math.min(oldest or since, since)
  end
end
local held = {}
for n, home in ipairs({READY, DUE, CLAIMS, DEAD, IN_DOUBT, PREFIX .. 'quarantined'}) do
  held[n] = redis.call('ZCARD', home)
end
held[#held + 1] = redis.call('ZCOUNT', UNREADABLE, int(NOW - 3 * PUT_OFF), '+inf')
local age = oldest and math.max(0, NOW - oldest) or -1
local failures, reason, ends = unpack(redis.call('HMGET', PAUSE, 'failures', 'reason', 'ends'))
local counts = redis.pcall('HGETALL', COUNTS)
return {held, age, paused(), tonumber(failures or 0) or 0, reason, counts.err and {} or counts,
  is_by_hand() and 1 or 0, number(ends) and math.max(0, number(ends) - NOW) or -1}
