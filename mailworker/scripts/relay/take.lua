-- take: so many of these items may go now, each within every bucket that it counts in.
-- KEYS     the relay's lesson, who waits for it since when, until when, a bucket for each limit
-- ARGV     who asks, number of items; for each bucket: limit, window in ms, burst (0: no pacing), the items' costs
--          ('1': one each, else 'c1,c2,…')
-- ANSWERS  for each item: 0 if it may go, or the ms until it might (-1: there is room, but others wait for it too);
--          then for each bucket the slot in which was taken
-- PARTS    clock learned buckets rivals
local who, items = ARGV[1], tonumber(ARGV[2])
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
local taught, buckets, costs = lesson(KEYS[1]), {}, {}
for b = 1, #KEYS - 3 do
  local first = 4 * b - 1
  buckets[b] = look(KEYS[3 + b], tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]))
  local each = {}
  for cost in string.gmatch(ARGV[first + 3], '%d+') do
    -- What is larger than the limit itself goes when the bucket is empty: it will never be smaller.
    each[#each + 1] = math.min(tonumber(cost), most_in(buckets[b]))
  end
  costs[b] = function(item) return each[item] or each[1] end
end
local step, tat
if taught.rate then
  step, tat = 1000 / taught.rate, math.max(taught.tat or 0, NOW)
end

local line = line_at(KEYS[2], KEYS[3], who)
local share, owed = items, line.ahead
for _, bucket in ipairs(buckets) do
  bucket.owed = line.ahead
  if line.rivals > 0 then share = math.min(share, math.max(1, math.floor(most_in(bucket) / (line.rivals + 1)))) end
end

local answer, granted, soonest = {}, 0, nil
for item = 1, items do
  local wait = taught.hold
  for b, bucket in ipairs(buckets) do wait = math.max(wait, wait_in(bucket, costs[b](item))) end
  if step then wait = math.max(wait, math.ceil(tat + owed * step - NOW - math.max(0, 1000 - step))) end
  if wait == 0 and granted < share then
    granted = granted + 1
    if step then tat = tat + step end
    for b, bucket in ipairs(buckets) do
      local cost = costs[b](item)
      bucket.used, bucket.taken = bucket.used + cost, bucket.taken + cost
      bucket.slots[#bucket.slots + 1] = {bucket.at, cost}
      if bucket.step then bucket.tat = bucket.tat + cost * bucket.step end
    end
  else
    owed = owed + 1
    for b, bucket in ipairs(buckets) do bucket.owed = bucket.owed + costs[b](item) end
    soonest = soonest or wait
    if wait == 0 then wait = -1 end
  end
  answer[item] = wait
end
for b, bucket in ipairs(buckets) do spend(bucket); answer[items + b] = bucket.at end
stand_in_line(KEYS[2], KEYS[3], who, soonest, granted > 0)
if step then redis.call('HSET', KEYS[1], 'tat', int(tat)) end
count_sent(KEYS[1], granted, taught)
return answer
