-- Leave to send that a person has recalled: by relay, the change of its breaker before which leave is worth nothing.
local RECALLED = PREFIX .. 'recalled'

-- Whether a person wants no more mails to go by a leave.
local function is_stopped(relay, epoch)
  return is_by_hand() or (tonumber(redis.call('HGET', RECALLED, relay) or 0) or 0) > tonumber(epoch)
end
