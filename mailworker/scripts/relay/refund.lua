-- refund: give back what was taken and not used.
-- KEYS     the relay's lesson, a bucket for each limit
-- ARGV     items not used, the second in which they were counted, when the rate was taught that they drew on (0: none);
--          for each bucket: the slot in which was taken, how much was not used, limit, window in ms, burst (0: no pacing)
-- ANSWERS  buckets that took something back
-- PARTS    clock sound pacing learned
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script

-- Take so much from a count, but never more than it holds; gives how much.
local function less(key, field, by)
  local held = sound(redis.call('HGET', key, field), 0)
  local back = math.min(by, held)
  if back <= 0 then return 0 end
  if back == held then redis.call('HDEL', key, field) else redis.call('HINCRBY', key, field, -back) end
  return back
end

local function sooner(key, ms)
  local tat = sound(redis.call('HGET', key, 'tat'), 0)
  if tat > NOW then redis.call('HSET', key, 'tat', exact(math.max(NOW, tat - ms))) end
end

local items, taught = less(KEYS[1], 's' .. ARGV[2], tonumber(ARGV[1])), lesson(KEYS[1])
-- Of another lesson than the one that was drawn on there is nothing to give back.
if items > 0 and taught.rate and int(taught.at) == ARGV[3] then sooner(KEYS[1], items * 1000 / taught.rate) end
local taken_back = 0
for b = 2, #KEYS do
  local slot, unused, limit, window, burst = unpack(ARGV, 5 * b - 6, 5 * b - 2)
  local back = less(KEYS[b], slot, tonumber(unused))
  if back > 0 and burst ~= '0' then sooner(KEYS[b], back * window / limit) end
  if back > 0 then taken_back = taken_back + 1 end
end
return taken_back
