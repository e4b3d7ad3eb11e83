-- A bucket: a hash of slots, each the hundredth part of its window, with what was taken in it; `tat` paces bursts
-- (GCRA: when the next unit would come if all came evenly). A slot counts until the whole of it has left the window,
-- so no window, wherever it begins, ever holds more than the limit.
local SLOTS = 100

local function look(key, limit, window, burst)
  local width = math.max(1, math.ceil(window / SLOTS))
  local at = math.floor(NOW / width)
  local bucket = {key = key, limit = limit, width = width, at = at, used = 0, slots = {}, owed = 0, taken = 0}
  local flat = redis.call('HGETALL', key)
  local gone = {}
  for n = 1, #flat, 2 do
    local slot, held = tonumber(flat[n]), sound(flat[n + 1])
    if flat[n] == 'tat' then
      bucket.tat = held
    elseif flat[n] == 'full' then
      bucket.is_full = true
    elseif slot < at - SLOTS or slot > at + SLOTS then
      gone[#gone + 1] = flat[n] -- beyond it only a clock that was set back can have been
    else
      bucket.used = bucket.used + held
      bucket.slots[#bucket.slots + 1] = {slot, held}
    end
  end
  if bucket.is_full then
    -- What it held made no sense, so it may have been all that there is.
    redis.call('DEL', key)
    redis.call('HSET', key, at, limit)
    redis.call('PEXPIRE', key, (SLOTS + 2) * width)
    bucket.used, bucket.slots, bucket.tat = limit, {{at, limit}}, nil
  end
  if #gone > 0 and not bucket.is_full then redis.call('HDEL', key, unpack(gone)) end
  table.sort(bucket.slots, function(one, other) return one[1] < other[1] end)
  if burst > 0 then
    bucket.step, bucket.burst = window / limit, burst
    bucket.tat = sane_tat(bucket.tat, burst * bucket.step)
  end
  return bucket
end

-- The ms until `cost` more fit, behind all that others of this call wait for; `ahead`: and others of other calls.
local function wait_in(bucket, cost, ahead)
  local owed = bucket.owed + ahead
  local wait, excess = 0, bucket.used + owed + cost - bucket.limit
  if excess > 0 then
    for _, slot in ipairs(bucket.slots) do
      excess = excess - slot[2]
      wait = (slot[1] + SLOTS + 1) * bucket.width - NOW
      if excess <= 0 then break end
    end
    -- What is taken by nobody yet comes a whole window later, and so on.
    if excess > 0 then wait = math.max(wait, 0) + math.ceil(excess / bucket.limit) * (SLOTS + 1) * bucket.width end
  end
  if bucket.step then
    wait = math.max(wait, bucket.tat + (owed + cost - bucket.burst) * bucket.step - NOW)
  end
  return math.max(0, math.ceil(wait))
end

local function most_in(bucket) return bucket.burst or bucket.limit end
