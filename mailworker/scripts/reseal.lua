-- reseal: put values under another key, each only if it is still what the caller has seen.
-- KEYS     lane, a record for each value
-- ARGV     for each value: field, SHA-1 of the old value in hex, new value
-- ANSWERS  for each value: 1 | 0 it was changed or dropped meanwhile
-- PARTS    lane room
local answer = {}
for n = 1, #KEYS - 8 do
  local field, seen, value = unpack(ARGV, 3 * n - 2, 3 * n)
  local now = redis.pcall('HGET', KEYS[8 + n], field)
  answer[n] = 0
  if type(now) == 'string' and redis.sha1hex(now) == seen then
    redis.call('HSET', KEYS[8 + n], field, value)
    answer[n] = 1
  end
end
return answer
