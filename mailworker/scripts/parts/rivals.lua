-- Who waits for a limit: a sorted set by since when, one by until when each is waited for. While somebody waits, nobody
-- takes more than an equal share at once, and everybody leaves a unit for each that has waited longer. Whoever waits
-- asks again when it was told to, or within GRACE of that; who does not is forgotten.
local GRACE, LONGEST, FORGOTTEN_AT_ONCE = 2000, 60000, 20

local function line_at(since_key, till_key, who)
  local gone = redis.call('ZRANGEBYSCORE', till_key, '-inf', int(NOW), 'LIMIT', 0, FORGOTTEN_AT_ONCE)
  if #gone == 0 then
    -- A clock that was set back makes nobody wait for ever for those who were in line.
    gone = redis.call('ZRANGEBYSCORE', till_key, '(' .. int(NOW + LONGEST + GRACE), '+inf', 'LIMIT', 0, FORGOTTEN_AT_ONCE)
  end
  if #gone > 0 then
    redis.call('ZREM', since_key, unpack(gone))
    redis.call('ZREM', till_key, unpack(gone))
  end
  local all, place = redis.call('ZCARD', since_key), redis.call('ZRANK', since_key, who)
  return {rivals = place and all - 1 or all, ahead = place or all, is_in = place}
end

local function share_of(items, buckets, own, rivals)
  for b = 1, rivals > 0 and own or 0 do
    items = math.min(items, math.max(1, math.floor(most_in(buckets[b]) / (rivals + 1))))
  end
  return items
end

-- `wait`: the ms that the asker was told to wait, nil for who got all he wanted.
local function queue_up(keys, who, line, wait, is_for_line, is_served)
  local since_key, till_key = keys[2], keys[3]
  if wait and is_for_line and who ~= '' then
    if is_served then redis.call('ZADD', since_key, int(NOW), who) else redis.call('ZADD', since_key, 'NX', int(NOW), who) end
    redis.call('ZADD', till_key, int(NOW + math.min(LONGEST, wait) + GRACE), who)
    redis.call('PEXPIRE', since_key, 2 * LONGEST)
    redis.call('PEXPIRE', till_key, 2 * LONGEST)
  elseif line.is_in then
    redis.call('ZREM', since_key, who)
    redis.call('ZREM', till_key, who)
  end
end
