-- A record that nobody can use is put aside, whole, with the reason, for a person to look at; the others flow on.
-- Answers its state.
local function quarantine(record, id, why, keep)
  if redis.call('TYPE', record).ok == 'hash' then
    -- Perhaps it was sent already: whoever gives it another go is to know.
    if redis.call('HGET', record, 'phase') == 'dot' then
      add(record, 'possible_duplicates', 1)
      tally('possible_duplicates', 1)
    end
    redis.call('HSET', record, 'error', why)
    note(record, 'quarantined')
    finish(record, id, 'quarantined', keep)
  else
    leave(id)
    redis.call('ZADD', PREFIX .. 'quarantined', int(NOW), id)
    tally('quarantined', 1)
    redis.call('PUBLISH', PREFIX .. 'ended:' .. id, 'quarantined')
  end
  return 'quarantined'
end

-- A mail is in a line that does not fit its state. Answers whether its record was put aside for that.
local function misplaced(record, id, state, line, keep)
  local home = ({scheduled = DUE, deferred = DUE, ready = READY, sending = CLAIMS})[state]
  local why = state == nil and 'its key holds no record' or not home and 'its state makes no sense'
    or not redis.call('ZSCORE', home, id) and 'its state and its place disagree'
  if IS_FINAL[state] or not why then
    redis.call('ZREM', line, id)
  elseif redis.call('EXISTS', record) == 1 then
    quarantine(record, id, why, keep)
    return true
  else
    redis.call('ZREM', line, id)
    tally('vanished', 1)
  end
  return false
end
