-- set_aside: put claimed mails aside that cannot be read here: till a key or a newer version is there, or for good.
-- KEYS     lane, a record for each mail
-- ARGV     how long to keep ended records; for each mail: id, fence, reason, may heal 0|1
-- ANSWERS  for each mail: its state, or fenced: the caller does not own the claim
-- PARTS    lane clock room reading keeping files ending history quarantine unreadable
local answer = {}
for n = 1, #KEYS - 8 do
  local record = KEYS[8 + n]
  local id, fence, why, may_heal = unpack(ARGV, 4 * n - 2, 4 * n + 1)
  local state, held, expires, phase = fields_of(record, 'state', 'fence', 'expires', 'phase')
  if state ~= 'sending' or held ~= fence then
    answer[n] = 'fenced'
  elseif may_heal == '1' and phase then
    answer[n] = state -- perhaps sent: such a claim runs out
  elseif may_heal == '1' then
    add(record, 'attempts', -1)
    put_off(record, id, why, expires)
    answer[n] = 'deferred'
  else
    quarantine(record, id, why, ARGV[1])
    answer[n] = 'quarantined'
  end
end
return answer
