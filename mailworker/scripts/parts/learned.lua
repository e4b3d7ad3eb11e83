-- What a relay has taught: a hash with `rate` (a second, in thousandths), `at` (when it was taught), `ceiling` (what was
-- sent when it complained), `hold` (until when it asked to be left alone), `pinned`, `tat`, and a slot of counts for
-- each of the last seconds. Left alone, the rate creeps up again; at twice its ceiling it is forgotten.
local CREEP_A_MINUTE, SECONDS_KEPT = 1.1, 10

local function lesson(key)
  local flat, held = redis.call('HGETALL', key), {}
  for n = 1, #flat, 2 do held[flat[n]] = tonumber(flat[n + 1]) end
  local rate = held.rate and held.rate / 1000
  if rate and held.pinned ~= 1 then
    rate = rate * CREEP_A_MINUTE ^ (math.max(0, NOW - held.at) / 60000)
    if rate > 2 * (held.ceiling or 0) / 1000 then
      redis.call('HDEL', key, 'rate', 'at', 'ceiling', 'tat')
      rate = nil
    end
  end
  return {key = key, rate = rate, hold = math.max(0, (held.hold or 0) - NOW), tat = held.tat, pinned = held.pinned == 1,
    at = held.at, held = held}
end

-- How many a second were sent of late.
local function pace(held)
  local second, sum, oldest = math.floor(NOW / 1000), 0, nil
  for name, count in pairs(held) do
    local at = tonumber(string.match(name, '^s(%d+)$'))
    if at and at <= second and second - at < SECONDS_KEPT then
      sum, oldest = sum + count, math.min(oldest or at, at)
    end
  end
  return oldest and sum / (second - oldest + 1) or 0
end

local function count_sent(key, sent, taught)
  local second = math.floor(NOW / 1000)
  if sent > 0 then redis.call('HINCRBY', key, 's' .. second, sent) end
  for name in pairs(taught.held) do
    local at = tonumber(string.match(name, '^s(%d+)$'))
    if at and math.abs(second - at) > SECONDS_KEPT then redis.call('HDEL', key, name) end
  end
  if taught.rate or taught.hold > 0 then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, 20000) end
end
