-- What a call takes of buckets, counted one item after the other and written once.
-- An item is granted, or waited for.
local function count(bucket, cost, is_granted)
  if not is_granted then
    bucket.owed = bucket.owed + cost
    return
  end
  bucket.used, bucket.taken = bucket.used + cost, bucket.taken + cost
  bucket.slots[#bucket.slots + 1] = {bucket.at, cost}
  if bucket.step then bucket.tat = bucket.tat + cost * bucket.step end
end

local function spend(bucket)
  if bucket.taken == 0 then return end
  redis.call('HINCRBY', bucket.key, bucket.at, bucket.taken)
  if bucket.step then redis.call('HSET', bucket.key, 'tat', exact(bucket.tat)) end
  redis.call('PEXPIRE', bucket.key, (SLOTS + 2) * bucket.width)
end
