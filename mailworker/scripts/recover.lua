-- recover: put mails whose worker died first in line again, and ring the bell if there is work that nobody was told of.
-- KEYS     lane
-- ARGV     most mails, hold mails in doubt that say nothing themselves 0|1, bell ttl ms, how long to keep
--          ended records
-- ANSWERS  mails put in line, the ids of those that expired, of those in doubt, more waiting 0|1, bell due 0|1
-- PARTS    lane clock room queue bell reading keeping files ending history expiry quarantine
local most, is_hold, keep = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[4]
local recovered, expired, in_doubt = 0, {}, {}

local lost = redis.call('ZRANGEBYSCORE', CLAIMS, '-inf', int(NOW), 'LIMIT', 0, most)
for _, id in ipairs(lost) do
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
    note(record, 'in doubt')
    finish(record, id, 'in_doubt', keep)
    in_doubt[#in_doubt + 1] = id
  elseif is_expired then
    expire(record, id, keep)
    expired[#expired + 1] = id
  else
    if phase == 'dot' then
      redis.call('HINCRBY', record, 'possible_duplicates', 1)
      redis.call('HINCRBY', COUNTS, 'possible_duplicates', 1)
    end
    redis.call('ZREM', CLAIMS, id)
    redis.call('HDEL', record, 'phase')
    -- With the fence moved on, a worker that was only slow finds its claim lost.
    redis.call('HINCRBY', record, 'fence', 1)
    redis.call('HSET', record, 'state', 'ready')
    note(record, phase == 'dot' and 'recovered at the dot' or 'recovered')
    line_up(id, RECOVERED, tonumber(accepted or NOW))
    recovered = recovered + 1
  end
end
if recovered > 0 then redis.call('HINCRBY', COUNTS, 'recovered', recovered) end
return {recovered, expired, in_doubt, #lost == most and 1 or 0, ring(ARGV[3])}
