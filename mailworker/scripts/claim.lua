-- claim: lease the mails first in line to one worker.
-- KEYS     lane
-- ARGV     most mails, most payload bytes (one mail may exceed them), lease ms, most attempts, 1 answering a bell or
--          2 having waited, bell ttl ms, how long to keep ended records, whose claim it is ('' tells nobody)
-- ANSWERS  ms paused, bell due 0|1, mails left in line, those that ended: id, state, ...; the mails: each id, fence,
--          attempts, payload, envelope, recipients, told, possible duplicates, priority, accepted, expires, own most
--          attempts, policy in doubt; mails of newer versions, put off
-- PARTS    lane clock room front bell reading keeping files ending history expiry quarantine unreadable
local most, most_bytes, most_attempts, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[7]
local lease_until, owner = int(NOW + ARGV[3]), ':' .. ARGV[8]
end_waiting(ARGV[5])

local mails, bytes, is_full, ended, newer = {}, 0, paused() > 0, {}, 0
local looks = most + 1000 -- a bound on the work of one call, should many mails have expired
local function finished(id, state) ended[#ended + 1], ended[#ended + 2] = id, state end

while #mails < most and looks > 0 and not is_full do
  local ids = redis.call('ZRANGE', READY, 0, most - #mails - 1)
  if #ids == 0 then break end
  looks = looks - #ids
  local taken, leases, last_of = {}, {}, {}
  for _, id in ipairs(ids) do
    local record = record_of(id)
    local values = values_of(record, 'version', 'possible_duplicates', 'priority', 'accepted', 'expires',
      'max_attempts', 'fence', 'attempts', 'weight', 'state', 'payload', 'envelope', 'recipients', 'told', 'details',
      'in_doubt') or {}
    local version, duplicates, priority, accepted, expires, own_most, fence, attempts, weight, state, payload, envelope,
      letters, told, old, in_doubt = unpack(values, 1, 16)
    local flaw = state == 'ready' and flaw_of(payload, letters, values, 9)
    local attempt = (number(attempts) or 0) + 1
    if state ~= 'ready' then
      if misplaced(record, id, state, READY, keep) then finished(id, 'quarantined') end
    elseif flaw then
      finished(id, quarantine(record, id, flaw, keep))
    elseif tonumber(version or 0) > KNOWN_VERSION then
      newer = newer + 1
      put_off(record, id, 'written by a newer version of mailworker', expires)
    elseif expires and tonumber(expires) <= NOW then
      finished(id, expire(record, id, keep))
    elseif attempt > (own_most and own_most + 1 or most_attempts) then
      finished(id, give_up(record, id, 'more attempts than allowed', keep))
    elseif #mails > 0 and bytes + #payload + (weight or 0) > most_bytes then
      is_full = true
      break
    else
      taken[#taken + 1], leases[#leases + 1], leases[#leases + 2] = id, lease_until, id
      last_of[priority or ''] = id
      bytes, fence = bytes + #payload + (weight or 0), tonumber(fence or 0) + 1
      redis.call('HSET', record, 'state', 'sending', 'fence', fence, 'attempts', attempt, 'owner', fence .. owner)
      mails[#mails + 1] = {id, fence, attempt, payload, envelope, letters, told or old, duplicates, priority, accepted,
        expires, own_most, in_doubt}
    end
  end
  if #taken > 0 then
    move_fronts(last_of)
    redis.call('ZREM', READY, unpack(taken))
    redis.call('ZADD', CLAIMS, unpack(leases))
  end
end
return {paused(), ring(ARGV[6]), redis.call('ZCARD', READY), ended, mails, newer}
