-- The lane's keys: the same eight, in the same order, for every script.
local READY, DUE, CLAIMS, DEAD, IN_DOUBT, BELL, PAUSE, COUNTS = unpack(KEYS, 1, 8)
local PREFIX = string.sub(READY, 1, -6)

-- The record of a mail that the script itself took from one of the lane's sets: same hash tag, same Cluster slot.
local function record_of(id) return PREFIX .. 'm:' .. id end

-- The only clock of the ledger, in ms since the epoch.
local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

-- Lua would write large numbers as 1.7e+12, which Redis does not read as an integer.
local function int(number) return string.format('%.0f', number) end

-- A server at its memory limit refuses a script's commands that may need memory, but only until the script has written
-- for the first time. This write needs none, so whoever finishes mails, and so makes room, is never stopped half-way.
redis.call('ZREM', CLAIMS, '')

-- The end of a mail: out of every home, counted, told to whoever waits. Its record stays for `keep` ms.
local COUNTED_AS = {sent = 'delivered'}
local function finish(record, id, state, keep)
  for _, home in ipairs({READY, DUE, CLAIMS}) do redis.call('ZREM', home, id) end
  redis.call('HDEL', record, 'phase', 'due')
  -- What was sent is nobody's business any more; everything else may be wanted again.
  if state == 'sent' then redis.call('HDEL', record, 'payload', 'error') end
  redis.call('HSET', record, 'state', state, 'ended', int(NOW))
  if state == 'dead' then redis.call('ZADD', DEAD, int(NOW), id) end
  if state == 'in_doubt' then redis.call('ZADD', IN_DOUBT, int(NOW), id) end
  redis.call('HINCRBY', COUNTS, COUNTED_AS[state] or state, 1)
  redis.call('PEXPIRE', record, keep)
  redis.call('PUBLISH', PREFIX .. 'ended:' .. id, state)
end

-- A mail's history: lines of JSON, the last 20 of them.
local function remember(record, line)
  local history = redis.call('HGET', record, 'history')
  history = history and history .. '\n' .. line or line
  local _, breaks = string.gsub(history, '\n', '')
  if breaks >= 20 then history = string.sub(history, string.find(history, '\n', 1, true) + 1) end
  redis.call('HSET', record, 'history', history)
end

-- What happened to a mail without a worker to tell it.
local function note(record, event)
  remember(record, '{"at":' .. int(NOW) .. ',"event":"' .. event .. '"}')
end

-- The fates of a mail's recipients, a letter each: p pending, d delivered, b bounced, i in doubt.
-- A 250 is a fact, whoever tells it; the rest is the owner's to say, and of pending recipients only.
local function merge(before, letters, is_owner)
  local at, delivered = 0, 0
  local after = string.gsub(before, '.', function(old)
    at = at + 1
    local new = string.sub(letters, at, at)
    if new == 'd' and old ~= 'd' then delivered = delivered + 1; return 'd' end
    if is_owner and old == 'p' and (new == 'b' or new == 'i') then return new end
  end)
  return after, delivered
end

-- The final state of a mail of which nothing is pending.
local function ending_of(letters)
  if string.find(letters, 'i') then return 'in_doubt' end
  if not string.find(letters, 'd') then return 'dead' end
  return string.find(letters, 'b') and 'partial' or 'sent'
end

-- settle: write verdicts. Delivered is a fact, whoever tells it; anything else must come from the owner of the claim.
-- KEYS     lane, a record for each mail
-- ARGV     ms to keep the record of a sent mail, of another ended mail; for each mail: id, fence, letters (one for
--          each recipient: d b i, or - and p for unchanged), ms until the pending ones are due, details, error, note,
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

local function settle(record, id, fence, letters, delay, details, err, line, is_duplicate, is_burnt)
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
    if details ~= '' then redis.call('HSET', record, 'details', details) end
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
