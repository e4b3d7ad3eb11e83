-- pick: move what is for one task from queues of Celery's to others. Runs on the broker's server.
-- KEYS     the lists of the one queue, by priority; as many of the other
-- ARGV     pattern that finds the task in a message, how many messages to look at, from either end of a list
-- ANSWERS  how many were moved, 1 if it should be asked again at once
-- PARTS    -
local most, moved, again = tonumber(ARGV[2]), 0, 0

local function move(from, to, first, last)
  local before, messages = moved, redis.call('LRANGE', from, first, last)
  for n = #messages, 1, -1 do
    if string.find(messages[n], ARGV[1]) and redis.call('LREM', from, -1, messages[n]) == 1 then
      redis.call('LPUSH', to, messages[n])
      moved = moved + 1
    end
  end
  return moved - before
end

for n = 1, #KEYS / 2 do
  local from, to = KEYS[n], KEYS[n + #KEYS / 2]
  if redis.call('LLEN', from) > 0 then
    -- The oldest are at the right. The newest are looked at too, lest others' tasks that nobody takes hide ours.
    if move(from, to, -most, -1) == most then again = 1 else move(from, to, 0, most - 1) end
  end
end
return {moved, again}
