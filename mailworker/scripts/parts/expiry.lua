-- Its time is over. What kept it from being sent so long stays readable.
local function expire(record, id, keep)
  local attempts, last = unpack(redis.call('HMGET', record, 'attempts', 'error'))
  local why = 'expired after ' .. (attempts or 0) .. ' attempts'
  redis.call('HSET', record, 'error', last and why .. '; at last: ' .. last or why)
  note(record, 'expired')
  finish(record, id, 'expired', keep)
end
