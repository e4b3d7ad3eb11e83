-- stats: what a lane holds at one moment. Writes nothing.
-- KEYS     lane
-- ARGV     -
-- ANSWERS  numbers of mails: ready, due, claims, dead, in doubt, quarantined, unreadable; ms since the
--          oldest ready mail was accepted or due, -1 if there is none; ms paused; failures, reason of the
--          pause; the counters: name, number, ...; 1 if a person has paused it, else 0
-- PARTS    lane clock bell reading unreadable
local oldest = nil
for rank = 0, 10 do
  -- Within a rank the first is the oldest.
  local from, to = int(rank * 1e13), int((rank + 1) * 1e13 - 1)
  local first = redis.call('ZRANGEBYSCORE', READY, from, to, 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then
    local since = tonumber(first[2]) - rank * 1e13
    oldest = math.min(oldest or since, since)
  end
end
local held = {}
for n, home in ipairs({READY, DUE, CLAIMS, DEAD, IN_DOUBT, PREFIX .. 'quarantined'}) do
  held[n] = redis.call('ZCARD', home)
end
held[#held + 1] = redis.call('ZCOUNT', UNREADABLE, int(NOW - 3 * PUT_OFF), '+inf')
local age = oldest and math.max(0, NOW - oldest) or -1
local failures, reason = unpack(redis.call('HMGET', PAUSE, 'failures', 'reason'))
return {held, age, paused(), tonumber(failures or 0), reason, redis.call('HGETALL', COUNTS),
  is_by_hand() and 1 or 0}
