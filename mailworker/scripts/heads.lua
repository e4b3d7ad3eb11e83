-- heads: under which keys the parts of records are sealed, by their first bytes. Writes nothing.
-- KEYS     lane, a record for each mail
-- ARGV     so many bytes; the fields
-- ANSWERS  for each mail: its state or '', the head of each field or '', the history
-- PARTS    -
local answer = {}
for n = 1, #KEYS - 8 do
  local values = redis.pcall('HMGET', KEYS[8 + n], 'state', 'history', unpack(ARGV, 2))
  local heads = {values[1] or ''}
  for field = 2, #ARGV do heads[field] = string.sub(values[1 + field] or '', 1, tonumber(ARGV[1])) end
  heads[#heads + 1] = values[2] or ''
  answer[n] = heads
end
return answer
