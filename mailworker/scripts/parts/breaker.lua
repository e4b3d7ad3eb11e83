-- A relay's breaker: a hash with `state`, `epoch` (grows with each change: who was admitted in an earlier one has no say
-- any more), `till` (when an open one is tried), `successes` of a half-open one, `held` (by hand), `reason`, `since`,
-- `opened` (how often). A missing hash is a closed breaker.
local LONG = 60000

local function read_breaker(key)
  local state, epoch, till, since, held, opened, successes =
    unpack(redis.call('HMGET', key, 'state', 'epoch', 'till', 'since', 'held', 'opened', 'successes'))
  if state and state ~= 'closed' and state ~= 'open' and state ~= 'half_open' then error('UNSOUND') end
  sound(opened)
  sound(successes)
  return {state = state or 'closed', epoch = sound(epoch, 0), till = sound(till, 0, A_WHILE), since = sound(since, 0),
    held = held == '1'}
end

-- Change its state; gives the new epoch. Failures and probes of the old one are forgotten.
local function move(keys, breaker, state, till, reason, held)
  redis.call('DEL', keys[2], keys[3])
  redis.call('HSET', keys[1], 'state', state, 'epoch', breaker.epoch + 1, 'since', int(NOW), 'successes', 0,
    'till', int(till or 0), 'held', held and '1' or '0')
  if reason then redis.call('HSET', keys[1], 'reason', reason) end
  if state == 'open' then redis.call('HINCRBY', keys[1], 'opened', 1) end
  return breaker.epoch + 1
end
