-- page: a part of a list, as HSCAN gives it: one that was there from first to last comes at least once. Writes nothing.
-- KEYS     the list, its ends
-- ARGV     cursor, about how many
-- ANSWERS  the next cursor, 0 at the end; for each: name, since ms, till ms or '', sealed value
-- PARTS    clock entries
local part = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local answer = {part[1]}
for n = 1, #part[2], 2 do append(answer, KEYS[2], part[2][n], part[2][n + 1]) end
return answer
