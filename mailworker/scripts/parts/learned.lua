-- What a relay has taught: a hash with `rate` (a second, in thousandths), `at` (when it was taught), `ceiling` (what was
-- sent when it complained), `hold` (until when it asked to be left alone), `pinned`, `tat`, and a slot of counts for
-- each of the last seconds. Left alone, the rate creeps up again, and faster once it is past twice the ceiling; where
-- nobody needs half of that, it is forgotten, so that it never jumps. At once goes what is due in BURST ms.
local CREEP_A_MINUTE, FASTER, SECONDS_KEPT, LONGEST_HOLD, BURST = 1.1, 2, 10, 3600000, 200

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

local function crept(rate, ceiling, minutes)
  local slowly = math.max(0, math.log(2 * ceiling / rate) / math.log(CREEP_A_MINUTE))
  if minutes <= slowly then return rate * CREEP_A_MINUTE ^ minutes end
  return 2 * ceiling * FASTER ^ math.min(30, minutes - slowly)
end

local function lesson(key)
  local flat, held = redis.call('HGETALL', key), {}
  for n = 1, #flat, 2 do held[flat[n]] = sound(flat[n + 1]) end
  local rate, at = held.rate and held.rate / 1000, math.min(held.at or NOW, NOW)
  -- Of a clock that was set back: else nothing would creep until it is where it was.
  if held.at and held.at > NOW then redis.call('HSET', key, 'at', int(NOW)) end
  if rate and held.pinned ~= 1 then
    local ceiling = held.ceiling and held.ceiling / 1000 or 2 * rate
    rate = crept(rate, ceiling, (NOW - at) / 60000)
    if rate > 2 * ceiling and pace(held) < rate / 2 then
      redis.call('HDEL', key, 'rate', 'at', 'ceiling', 'tat')
      rate = nil
    end
  end
  local hold = math.max(0, (held.hold or 0) - NOW)
  return {key = key, rate = rate, hold = hold > LONGEST_HOLD and 0 or hold, tat = held.tat, pinned = held.pinned == 1,
    at = at, held = held}
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
