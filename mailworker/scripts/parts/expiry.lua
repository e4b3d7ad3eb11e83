-- Ends without a verdict; each answers the state. What kept a mail from being sent so long stays readable.
local function expire(record, id, keep)
  local attempts, last, unreadable = unpack(redis.call('HMGET', record, 'attempts', 'error', 'unreadable'))
  -- What nobody could open is a matter of keys or versions, not of time: a person will want to know of it.
  local state = unreadable and 'quarantined' or 'expired'
  local why = 'expired after ' .. (attempts or 0) .. ' attempts'
  redis.call('HSET', record, 'error', last and why .. '; at last: ' .. last or why)
  note(record, 'expired')
  finish(record, id, state, keep)
  return state
end

local function give_up(record, id, why, keep)
  redis.call('HSET', record, 'error', why)
  note(record, why)
  finish(record, id, 'dead', keep)
  return 'dead'
end
