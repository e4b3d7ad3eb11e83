-- take: so many of these items may go now, each within every bucket that it counts in.
-- KEYS     the relay's lesson, who waits for it since when, until when, a bucket for each limit
-- ARGV     who asks ('' stands in no line), number of items, how many buckets, the first ones, are those that the line is
--          for; for each bucket: limit, window in ms, burst (0: no pacing), the items' costs ('1': one each, else
--          'item=cost,…' for those that cost something)
-- ANSWERS  for each item: 0 if it may go, or the ms until it might (-1: there is room, but others wait for it too);
--          then for each bucket the slot in which was taken; then the ms until anybody might go, the second in which
--          was counted, and when the rate was taught that was drawn on (0: none)
-- PARTS    clock sound pacing learned buckets spending rivals
local who, items, own = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
local taught, buckets, of = lesson(KEYS[1]), {}, {}
for item = 1, items do of[item] = {} end
for b = 1, #KEYS - 3 do
  local bucket = look(KEYS[3 + b], tonumber(ARGV[4 * b]), tonumber(ARGV[4 * b + 1]), tonumber(ARGV[4 * b + 2]))
  buckets[b], bucket.is_own = bucket, b <= own
  -- What is larger than the limit itself goes when the bucket is empty: it will never be smaller.
  local function add(item, cost) of[item][#of[item] + 1] = {bucket, math.min(cost, most_in(bucket))} end
  if ARGV[4 * b + 3] == '1' then for item = 1, items do add(item, 1) end end
  for item, cost in string.gmatch(ARGV[4 * b + 3], '(%d+)=(%d+)') do add(tonumber(item), tonumber(cost)) end
end
local step = taught.rate and 1000 / taught.rate
local tat = step and sane_tat(taught.tat, BURST + 2 * step)

local line = who == '' and {rivals = 0, ahead = 0} or line_at(KEYS[2], KEYS[3], who)
local share, owed = share_of(items, buckets, own, line.rivals), 0

-- The ms until an item might go behind so many who stand in line, and whether that is for what the line is for.
local function wait_of(item, ahead)
  local wait, for_others = 0, taught.hold
  if step then wait = math.max(0, math.ceil(tat + (owed + ahead) * step - NOW - math.max(0, BURST - step))) end
  for _, each in ipairs(of[item]) do
    local bucket, cost = unpack(each)
    local it = wait_in(bucket, cost, bucket.is_own and ahead or 0)
    if bucket.is_own then wait = math.max(wait, it) else for_others = math.max(for_others, it) end
  end
  return math.max(wait, for_others), wait >= for_others
end

local answer, granted, soonest, told_to_wait, is_for_line = {}, 0, nil, nil, false
for item = 1, items do
  local wait, is_own = wait_of(item, line.ahead)
  local is_granted = wait == 0 and granted < share
  if is_granted then granted, tat = granted + 1, step and tat + step end
  if not is_granted then
    if not soonest then soonest, told_to_wait, is_for_line = wait_of(item, 0), wait, is_own end
    owed, wait = owed + 1, wait == 0 and -1 or wait
  end
  for _, each in ipairs(of[item]) do count(each[1], each[2], is_granted) end
  answer[item] = wait
end
for b, bucket in ipairs(buckets) do spend(bucket); answer[items + b] = bucket.at end
queue_up(KEYS, who, line, told_to_wait, is_for_line, granted > 0)
if step then redis.call('HSET', KEYS[1], 'tat', exact(tat)) end
count_sent(KEYS[1], granted, taught)
local told = #answer
answer[told + 1], answer[told + 2] = soonest or 0, math.floor(NOW / 1000)
answer[told + 3] = step and taught.at or 0
return answer
