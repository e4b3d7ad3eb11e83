-- renew: extend the leases of claims whose mails are still being worked on.
-- KEYS     lane, a record for each mail
-- ARGV     lease ms; for each mail: id, fence
-- ANSWERS  for each mail: 1 still the caller's | 0
-- PARTS    lane clock room reading
local lease_until = int(NOW + ARGV[1])
local answer = {}
for n = 1, #KEYS - 8 do
  local record, id, fence = KEYS[8 + n], ARGV[2 * n], ARGV[2 * n + 1]
  local state, held = fields_of(record, 'state', 'fence')
  answer[n] = 0
  if state == 'sending' and held == fence then
    redis.call('ZADD', CLAIMS, lease_until, id)
    answer[n] = 1
  end
end
return answer
