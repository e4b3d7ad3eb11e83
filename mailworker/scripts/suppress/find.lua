-- find: what a list says of these names. Writes nothing.
-- KEYS     the list, its ends
-- ARGV     names
-- ANSWERS  how many are on the list; then for each name that is: name, since ms, till ms or '', sealed value
-- PARTS    clock entries
local answer = {redis.call('HLEN', KEYS[1])}
for first = 1, answer[1] > 0 and #ARGV or 0, 1000 do
  local last = math.min(first + 999, #ARGV)
  local values = redis.call('HMGET', KEYS[1], unpack(ARGV, first, last))
  for n = first, last do append(answer, KEYS[2], ARGV[n], values[n - first + 1]) end
end
return answer
