-- claim: lease the mails first in line to one worker.
-- KEYS     lane
-- ARGV     most mails, most payload bytes (one mail may exceed them), lease ms, most attempts, answering a bell 0|1,
--          bell ttl ms, ms to keep the record of an ended mail
-- ANSWERS  ms paused, bell due 0|1, mails left in line, those given up: id, state, ...; the mails: each id, fence,
--          attempts, payload, envelope, recipients, told, possible duplicates, priority, accepted, expires, own most
--          attempts, policy in doubt
-- PARTS    lane clock room bell ending history expiry
local most, most_bytes, most_attempts, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[7]
local lease_until = int(NOW + ARGV[3])
if ARGV[5] == '1' then redis.call('DEL', BELL) end

local mails, bytes, is_full, ended = {}, 0, paused() > 0, {}
local looks = most + 1000 -- a bound on the work of one call, should many mails have expired
local function give_up(record, id, why)
  redis.call('HSET', record, 'error', why)
  note(record, why)
  finish(record, id, 'dead', keep)
  ended[#ended + 1], ended[#ended + 2] = id, 'dead'
end

while #mails < most and looks > 0 and not is_full do
  local ids = redis.call('ZRANGE', READY, 0, most - #mails - 1)
  if #ids == 0 then break end
  looks = looks - #ids
  local taken, leases = {}, {}
  for _, id in ipairs(ids) do
    local record = record_of(id)
    local state, payload, envelope, letters, told, old, duplicates, priority, accepted, expires, own_most, in_doubt,
      fence, attempts = unpack(redis.call('HMGET', record, 'state', 'payload', 'envelope', 'recipients', 'told',
        'details', 'possible_duplicates', 'priority', 'accepted', 'expires', 'max_attempts', 'in_doubt', 'fence',
        'attempts'))
    attempts = tonumber(attempts or 0) + 1
    if state ~= 'ready' then
      redis.call('ZREM', READY, id)
    elseif expires and tonumber(expires) <= NOW then
      expire(record, id, keep)
      ended[#ended + 1], ended[#ended + 2] = id, 'expired'
    elseif not payload then
      give_up(record, id, 'the payload is gone')
    elseif attempts > (own_most and own_most + 1 or most_attempts) then
      give_up(record, id, 'more attempts than allowed')
    elseif #mails > 0 and bytes + #payload > most_bytes then
      is_full = true
      break
    else
      fence = tonumber(fence or 0) + 1
      taken[#taken + 1], leases[#leases + 1], leases[#leases + 2] = id, lease_until, id
      redis.call('HSET', record, 'state', 'sending', 'fence', fence, 'attempts', attempts)
      bytes = bytes + #payload
      mails[#mails + 1] = {id, fence, attempts, payload, envelope, letters, told or old, duplicates, priority, accepted,
        expires, own_most, in_doubt}
    end
  end
  if #taken > 0 then
    redis.call('ZREM', READY, unpack(taken))
    redis.call('ZADD', CLAIMS, unpack(leases))
  end
end
return {paused(), ring(ARGV[6]), redis.call('ZCARD', READY), ended, mails}
