-- refund: give back what was taken and not used.
-- KEYS     a bucket for each limit
-- ARGV     for each bucket: the slot in which was taken, how much was not used, ms that one unit paces (0: no pacing)
-- ANSWERS  buckets that took something back
-- PARTS    clock
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
local taken_back = 0
for b, key in ipairs(KEYS) do
  local slot, unused, step = ARGV[3 * b - 2], tonumber(ARGV[3 * b - 1]), tonumber(ARGV[3 * b])
  local held = tonumber(redis.call('HGET', key, slot) or 0)
  local back = math.min(unused, held)
  if back > 0 then
    if back == held then redis.call('HDEL', key, slot) else redis.call('HINCRBY', key, slot, -back) end
    local tat = tonumber(redis.call('HGET', key, 'tat') or 0)
    if step > 0 and tat > NOW then redis.call('HSET', key, 'tat', int(math.max(NOW, tat - back * step))) end
    taken_back = taken_back + 1
  end
end
return taken_back
