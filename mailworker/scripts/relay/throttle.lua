-- throttle: the relay says that this is too fast. Half of what was sent of late is the new rate, at once.
-- KEYS     the relay's lesson
-- ARGV     ms that the relay asked to be left alone (0: it did not say)
-- ANSWERS  the rate now, in thousandths a second ('' when there is nothing to go by), ms until the relay is tried again
-- PARTS    clock learned
local SLOWEST, ONE_COMPLAINT = 0.05, 1000
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
local taught = lesson(KEYS[1])
local rate, hold = taught.rate, math.max(taught.hold, tonumber(ARGV[1]))
-- Workers that hear the same complaint at once tell of one.
if not taught.pinned and NOW - (taught.at or 0) >= ONE_COMPLAINT then
  local sent = pace(taught.held)
  if rate and (sent == 0 or sent > rate) then sent = rate end
  if sent > 0 then
    rate = math.max(SLOWEST, sent / 2)
    redis.call('HSET', KEYS[1], 'rate', int(rate * 1000), 'ceiling', int(sent * 1000), 'at', int(NOW),
      'tat', int(NOW))
  end
end
if hold > 0 then redis.call('HSET', KEYS[1], 'hold', int(NOW + hold)) end
redis.call('PERSIST', KEYS[1])
return {rate and int(rate * 1000) or '', hold}
