-- roll: tell which workers gave a sign of life lately. Writes nothing.
-- KEYS     roll: when each was seen, what each said
-- ARGV     -
-- ANSWERS  for each worker: name, ms since its last sign, the sign
-- PARTS    clock
local seen = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local answer = {}
for n = 1, #seen, 2 do
  answer[#answer + 1] = seen[n]
  answer[#answer + 1] = int(math.max(0, NOW - tonumber(seen[n + 1])))
  answer[#answer + 1] = redis.call('HGET', KEYS[2], seen[n]) or ''
end
return answer
