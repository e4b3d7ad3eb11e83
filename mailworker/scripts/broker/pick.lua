-- pick: move what is for one task from queues of Celery's to others. Runs on the broker's server.
-- KEYS     the lists of the one queue, by priority; as many of the other
-- ARGV     name of the task, how many messages to look at, from either end of a list; how the body of a message of
--          task protocol 1 begins, where the name stands in the body
-- ANSWERS  how many were moved, 1 if it should be asked again at once
-- PARTS    -
local task, most, early, moved = ARGV[1], tonumber(ARGV[2]), ARGV[3], 0

local function is_ours(message)
  if not string.find(message, '"' .. task .. '"', 1, true) and not string.find(message, '"' .. early, 1, true) then
    return false
  end
  local is_read, told = pcall(cjson.decode, message)
  if not is_read or type(told) ~= 'table' then return false end
  local named = type(told.headers) == 'table' and told.headers.task
  return named == task or not named and type(told.body) == 'string' and string.sub(told.body, 1, #early) == early
end

-- `side`: -1 for the oldest, which are at the right, 1 for the newest. Answers whether all that it looked at were ours.
local function move(from, to, first, last, side)
  local before, messages = moved, redis.call('LRANGE', from, first, last)
  for n = #messages, 1, -1 do
    if is_ours(messages[n]) then
      redis.call('LPUSH', to, messages[n]) -- first: where it fails, nothing was taken away
      redis.call('LREM', from, side, messages[n])
      moved = moved + 1
    end
  end
  return moved - before == most
end

local again = false
for n = 1, #KEYS / 2 do
  local from, to = KEYS[n], KEYS[n + #KEYS / 2]
  if redis.call('LLEN', from) > 0 then
    -- The newest are looked at too, lest others' tasks that nobody takes hide ours.
    again = move(from, to, -most, -1, -1) or move(from, to, 0, most - 1, 1) or again
  end
end
return {moved, again and 1 or 0}
