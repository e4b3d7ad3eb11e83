-- settle: write verdicts. Delivered is a fact, whoever tells it; anything else must come from the owner of the claim.
-- KEYS     lane, a record for each mail
-- ARGV     ms to keep the record of a sent mail, of another ended mail; for each mail: id, fence, letters (one for
--          each recipient: d b i, or - and p for unchanged), ms until the pending ones are due, told, error, note,
--          possible duplicate 0|1, attempt burnt 0|1 (0 takes it back from what is deferred). What is missing is ''.
-- ANSWERS  for each mail: its state, or fenced: the caller does not own the claim (a fact that it told is kept)
-- PARTS    lane clock room ending history letters
local FIELDS = 9
local IS_OPEN = {scheduled = true, ready = true, sending = true, deferred = true}

local function defer(record, id, delay, expires, is_burnt)
  local due = NOW + delay
  redis.call('ZREM', CLAIMS, id)
  redis.call('ZADD', DUE, int(math.min(due, tonumber(expires) or due)), id)
  redis.call('HSET', record, 'state', 'deferred', 'due', int(due))
  redis.call('HDEL', record, 'phase')
  if is_burnt == '0' then redis.call('HINCRBY', record, 'attempts', -1) end
  redis.call('HINCRBY', COUNTS, 'deferred', 1)
  return 'deferred'
end

local function settle(record, id, fence, letters, delay, told, err, line, is_duplicate, is_burnt)
  local state, held, before, expires = unpack(redis.call('HMGET', record, 'state', 'fence', 'recipients', 'expires'))
  local is_same_fence = held == fence
  -- The owner's own repetition hears what became of the mail; nothing is written twice.
  local otherwise = is_same_fence and state or 'fenced'
  if not IS_OPEN[state] or #before ~= #letters then return otherwise end
  local is_owner = is_same_fence and state == 'sending'
  local after, delivered = merge(before, letters, is_owner)
  local is_over = not string.find(after, 'p')
  redis.call('HSET', record, 'recipients', after)
  if delivered > 0 then redis.call('DEL', PAUSE) end -- the relay works
  if is_owner and is_duplicate == '1' then
    redis.call('HINCRBY', record, 'possible_duplicates', 1)
    redis.call('HINCRBY', COUNTS, 'possible_duplicates', 1)
  end
  if is_owner or is_over then
    if told ~= '' then redis.call('HSET', record, 'told', told) end
    if err ~= '' then redis.call('HSET', record, 'error', err) end
    if line ~= '' then remember(record, line) end
  end
  if is_over then
    local final = ending_of(after)
    finish(record, id, final, final == 'sent' and ARGV[1] or ARGV[2])
    return final
  end
  return is_owner and defer(record, id, delay, expires, is_burnt) or otherwise
end

local answer = {}
for n = 1, #KEYS - 8 do
  local first = 3 + (n - 1) * FIELDS
  answer[n] = settle(KEYS[8 + n], unpack(ARGV, first, first + FIELDS - 1))
end
return answer
