-- throttle: the relay says that this is too fast, or too much. Of too fast, half of what was sent of late is the new
-- rate, after a second's rest; where nothing was, it is left alone for a moment.
-- KEYS     the relay's lesson
-- ARGV     ms that the relay asked to be left alone (0: it did not say), 1 if it is too fast, 0 for a pause alone, when
--          the rate was taught by which went what it complains of (0: none was; '': not known)
-- ANSWERS  the rate now, in thousandths a second ('' when there is nothing to go by), ms until the relay is tried
--          again, 1 if this was news, 0 where others have told it already
-- PARTS    clock sound learned
local SLOWEST, ONE_COMPLAINT, REST, UNKNOWN = 0.05, 1000, 1000, 5000
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
local taught = lesson(KEYS[1])
local rate, hold, is_news = taught.rate, math.max(taught.hold, tonumber(ARGV[1])), false
-- Workers that hear the same complaint at once tell of one; and of what went before the last lesson there is nothing
-- more to learn.
local is_known = taught.rate and (NOW - taught.at < ONE_COMPLAINT or ARGV[3] ~= '' and ARGV[3] ~= int(taught.at))
if ARGV[2] == '1' and not taught.pinned and not is_known then
  local sent = pace(taught.held)
  if rate and (sent == 0 or sent > rate) then sent = rate end
  if sent > 0 then
    -- What is on its way comes in, and goes out of what the relay counts, before more does.
    rate, is_news, hold = math.max(SLOWEST, sent / 2), true, math.max(hold, REST)
    redis.call('HSET', KEYS[1], 'rate', int(rate * 1000), 'ceiling', int(math.max(sent, 2 * SLOWEST) * 1000),
      'at', int(NOW), 'tat', int(NOW + 1000 / rate))
  elseif not rate then
    hold = math.max(hold, UNKNOWN) -- it takes not even a first one now
  end
end
if hold > taught.hold then redis.call('HSET', KEYS[1], 'hold', int(NOW + hold)) end
if rate or hold > 0 then redis.call('PERSIST', KEYS[1]) end
is_news = is_news or hold > taught.hold + ONE_COMPLAINT
return {rate and int(rate * 1000) or '', hold, is_news and 1 or 0}
