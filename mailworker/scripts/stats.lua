-- stats: what a lane holds at one moment. Writes nothing.
-- KEYS     lane
-- ARGV     -
-- ANSWERS  ready, due, claims, dead, in doubt: numbers of mails; ms since the oldest ready mail was accepted or due, or
--          -1; ms paused; failures, reason of the pause; the counters: name, number, ...
-- PARTS    lane clock bell
local oldest = nil
for rank = 0, 10 do
  -- Within a rank the first is the oldest.
  local first = redis.call('ZRANGEBYSCORE', READY, int(rank * 1e13), int((rank + 1) * 1e13 - 1), 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then
    local since = tonumber(first[2]) - rank * 1e13
    oldest = math.min(oldest or since, since)
  end
end
local held = {}
for n, home in ipairs({READY, DUE, CLAIMS, DEAD, IN_DOUBT}) do held[n] = redis.call('ZCARD', home) end
return {held, oldest and math.max(0, NOW - oldest) or -1, paused(), tonumber(redis.call('HGET', PAUSE, 'failures') or 0),
  redis.call('HGET', PAUSE, 'reason'), redis.call('HGETALL', COUNTS)}
