-- A claim that nobody works on any more. Its mail is first in line again, flagged if it may have been sent, unless it has
-- ended with that. `more` goes into the history beside what happened.
local function new_recovery() return {recovered = 0, expired = {}, in_doubt = {}} end

local function recover(id, is_hold, keep, more, done)
  local record = record_of(id)
  local values = values_of(record, 'accepted', 'expires', 'fence', 'possible_duplicates', 'state', 'phase',
    'recipients', 'in_doubt', 'payload') or {}
  local accepted, expires, _, _, state, phase, letters, own, payload = unpack(values, 1, 9)
  local flaw = state == 'sending' and flaw_of(payload, letters, values, 4)
  local is_expired = expires and not flaw and tonumber(expires) <= NOW
  if state ~= 'sending' then
    misplaced(record, id, state, CLAIMS, keep)
  elseif flaw then
    quarantine(record, id, flaw, keep)
  elseif phase == 'dot' and (own == 'hold' or (is_hold and not own) or is_expired) then
    -- Perhaps delivered, and not to be sent again: only a person can tell.
    redis.call('HSET', record, 'recipients', (string.gsub(letters, 'p', 'i')), 'error', 'lost at the final dot')
    note(record, 'in doubt', more)
    finish(record, id, 'in_doubt', keep)
    done.in_doubt[#done.in_doubt + 1] = id
  elseif is_expired then
    expire(record, id, keep)
    done.expired[#done.expired + 1] = id
  else
    if phase == 'dot' then
      redis.call('HINCRBY', record, 'possible_duplicates', 1)
      tally('possible_duplicates', 1)
    end
    redis.call('ZREM', CLAIMS, id)
    redis.call('HDEL', record, 'phase', 'owner')
    -- With the fence moved on, a worker that was only slow finds its claim lost.
    redis.call('HINCRBY', record, 'fence', 1)
    redis.call('HSET', record, 'state', 'ready')
    note(record, phase == 'dot' and 'recovered at the dot' or 'recovered', more)
    line_up(id, RECOVERED, tonumber(accepted or NOW))
    tally('recovered', 1)
    done.recovered = done.recovered + 1
  end
end
