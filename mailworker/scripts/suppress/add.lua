-- add: put addresses on a list of those that are not tried again, and drop some of those whose time is over.
-- KEYS     the list, its ends
-- ARGV     what stays as it is: none | known, addresses that are on the list under any name | named, under this one;
--          for each address: name, its older names as one string, sealed value, when it ends, since when.
--          when: '+n' is n ms from now, 'n' ms since the epoch, '' never; since: '' is now
-- ANSWERS  how many were put there
-- PARTS    clock moment
local LIST, ENDS, stays = KEYS[1], KEYS[2], ARGV[1]
local function drop(names)
  if #names == 0 then return end
  redis.call('HDEL', LIST, unpack(names))
  redis.call('ZREM', ENDS, unpack(names))
end
local function is_there(name) return (tonumber(redis.call('ZSCORE', ENDS, name) or nil) or 0) > NOW end

drop(redis.call('ZRANGEBYSCORE', ENDS, '-inf', int(NOW), 'LIMIT', 0, 100))
local added = 0
for n = 2, #ARGV, 5 do
  local name, others, value, ends, since = unpack(ARGV, n, n + 4)
  local is_known, is_named, older = false, is_there(name), {}
  for first = 1, #others, #name do
    older[#older + 1] = string.sub(others, first, first + #name - 1)
    is_known = is_known or is_there(older[#older])
  end
  if stays ~= 'known' or not is_known then drop(older) end
  if stays == 'none' or not (is_named or (is_known and stays == 'known')) then
    local till = moment(ends)
    redis.call('HSET', LIST, name, int(moment(since) or NOW) .. ':' .. value)
    redis.call('ZADD', ENDS, till and int(till) or '+inf', name)
    added = added + 1
  end
end
return added
