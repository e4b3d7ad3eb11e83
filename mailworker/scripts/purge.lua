-- purge: forget ended mails for good.
-- KEYS     lane, a record for each mail
-- ARGV     the mails' ids
-- ANSWERS  for each mail: purged, or the state in which it is (not ended), or unknown
-- PARTS    lane room
local IS_OPEN = {scheduled = true, ready = true, sending = true, deferred = true}
local answer = {}
for n = 1, #KEYS - 8 do
  local record, id = KEYS[8 + n], ARGV[n]
  local state = redis.call('HGET', record, 'state')
  if state and not IS_OPEN[state] then
    redis.call('DEL', record)
    redis.call('ZREM', DEAD, id)
    redis.call('ZREM', IN_DOUBT, id)
    redis.call('ZREM', UNTOLD, id)
    state = 'purged'
  end
  answer[n] = state or 'unknown'
end
return answer
