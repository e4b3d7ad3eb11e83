-- cancel: end mails that nobody is sending. What is on the wire cannot be called back.
-- KEYS     lane, a record for each mail
-- ARGV     how long to keep ended records; the mails' ids
-- ANSWERS  for each mail: cancelled, or the state in which it is (sending or final), or unknown
-- PARTS    lane clock room reading keeping files ending history
local MAY = {scheduled = true, ready = true, deferred = true}
local answer = {}
for n = 1, #KEYS - 8 do
  local record, id = KEYS[8 + n], ARGV[1 + n]
  local state = fields_of(record, 'state')
  if MAY[state] then
    note(record, 'cancelled')
    finish(record, id, 'cancelled', ARGV[1])
    state = 'cancelled'
  end
  answer[n] = state or 'unknown'
end
return answer
