-- Write verdicts. `arg`: where the nine fields of the first mail stand; `key`: its record. What is common comes at the end.
local FIELDS, ADDS = 9, {['1'] = {'possible_duplicates', 1}, ['2'] = {'attempts', -1}}

local function settle_all(key, arg, mails, keep)
  local answer, let_go, counted, is_news = {}, {}, {}, false
  local function count(name) counted[name] = (counted[name] or 0) + 1 end

  local function defer(record, id, delay, expires)
    local due = NOW + delay
    redis.call('ZADD', DUE, int(math.min(due, number(expires) or due)), id)
    redis.call('HSET', record, 'state', 'deferred', 'due', int(due))
    redis.call('HDEL', record, 'phase', 'owner', 'unreadable')
    count('deferred')
    return 'deferred'
  end

  local function settle(record, id, fence, letters, delay, told, err, line, how, relay)
    local state, held, before, expires, callbacks, files =
      fields_of(record, 'state', 'fence', 'recipients', 'expires', 'callbacks', 'files')
    local is_same_fence = held == fence
    -- The owner's own repetition hears what became of the mail; nothing is written twice.
    local otherwise = is_same_fence and state or 'fenced'
    if not IS_OPEN[state] or not before or #before ~= #letters then return otherwise end
    local is_owner = is_same_fence and state == 'sending'
    local after, is_delivered = merge(before, letters, is_owner)
    local is_over = not string.find(after, 'p')
    is_news = is_news or is_delivered
    if is_owner and how == '1' then count('possible_duplicates') end
    if is_owner and ADDS[how] then add(record, unpack(ADDS[how])) end
    if is_owner then let_go[#let_go + 1] = id end -- it is in no other home
    local facts = {'recipients', after}
    if is_owner or is_over then
      for name, said in pairs({told = told, error = err, relay = relay}) do
        if said ~= '' then facts[#facts + 1], facts[#facts + 2] = name, said end
      end
      if line ~= '' then remember(record, line) end
    end
    if not is_over then
      redis.call('HSET', record, unpack(facts))
      return is_owner and defer(record, id, delay, expires) or otherwise
    end
    local final = ending_of(after)
    if not is_owner then leave(id) end
    close(record, id, final, keep, callbacks, files, unpack(facts))
    count(COUNTED_AS[final] or final)
    return final
  end

  for n = 1, mails do
    local first = arg + (n - 1) * FIELDS
    answer[n] = settle(KEYS[key + n - 1], unpack(ARGV, first, first + FIELDS - 1))
  end
  for _, list in ipairs(#let_go > 0 and {CLAIMS, UNREADABLE} or {}) do redis.call('ZREM', list, unpack(let_go)) end
  -- The relay works. A pause that has a kind was not for its failures.
  if is_news and not redis.call('HGET', PAUSE, 'kind') then redis.call('DEL', PAUSE) end
  for name, number in pairs(counted) do tally(name, number) end
  return answer
end
