-- Who waits for a limit: a sorted set by since when, and one by until when each is waited for. While somebody waits, nobody
-- takes more than an equal share at once, and everybody leaves a unit for each that has waited longer.
local WAITED_FOR, FORGOTTEN_AT_ONCE = 10000, 20

local function line_at(since_key, till_key, who)
  local gone = redis.call('ZRANGEBYSCORE', till_key, '-inf', int(NOW), 'LIMIT', 0, FORGOTTEN_AT_ONCE)
  if #gone > 0 then
    redis.call('ZREM', since_key, unpack(gone))
    redis.call('ZREM', till_key, unpack(gone))
  end
  local all, place = redis.call('ZCARD', since_key), redis.call('ZRANK', since_key, who)
  return {rivals = place and all - 1 or all, ahead = place or all}
end

local function stand_in_line(since_key, till_key, who, wait, is_served)
  if not wait then
    redis.call('ZREM', since_key, who)
    redis.call('ZREM', till_key, who)
    return
  end
  local till = NOW + math.min(WAITED_FOR, wait) + 1000
  if is_served then redis.call('ZADD', since_key, int(NOW), who) else redis.call('ZADD', since_key, 'NX', int(NOW), who) end
  redis.call('ZADD', till_key, int(till), who)
  redis.call('PEXPIRE', since_key, 2 * WAITED_FOR)
  redis.call('PEXPIRE', till_key, 2 * WAITED_FOR)
end
