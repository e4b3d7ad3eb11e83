-- pick: move what is for one task from a queue of Celery's to another. Runs on the broker's server.
-- KEYS     the list of the one queue, the list of the other
-- ARGV     pattern that finds the task in a message; first and last place to look at, the oldest message being at -1
-- ANSWERS  how many were moved
-- PARTS    -
local moved = 0
local messages = redis.call('LRANGE', KEYS[1], ARGV[2], ARGV[3])
for n = #messages, 1, -1 do
  if string.find(messages[n], ARGV[1]) and redis.call('LREM', KEYS[1], -1, messages[n]) == 1 then
    redis.call('LPUSH', KEYS[2], messages[n])
    moved = moved + 1
  end
end
return moved
