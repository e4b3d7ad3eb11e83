-- The ms for which the lane is still to be left alone. Before a pause began only a clock can be that was set back; a
-- person's holds all the same.
local function paused()
  local till, since, kind = unpack(redis.call('HMGET', PAUSE, 'until', 'since', 'kind'))
  if kind ~= 'hand' and since and NOW < (tonumber(since) or 0) then return 0 end
  return math.max(0, (tonumber(till or 0) or 0) - NOW)
end

-- Whether a person has paused it, so that only a person, or the time, ends that.
local function is_by_hand() return paused() > 0 and redis.call('HGET', PAUSE, 'kind') == 'hand' end

-- 1 if there is work and nobody was told, so that whoever asked must publish a bell; else 0.
local function ring(ttl, is_work)
  if paused() > 0 or not (is_work or redis.call('ZCARD', READY) > 0) then return 0 end
  return redis.call('SET', BELL, '1', 'NX', 'PX', ttl) and 1 or 0
end

-- Who claims has heard the bell (1), or waited for the others (2): those who came meanwhile have gone again.
local function end_waiting(how)
  if how == '1' or how == '2' and redis.call('GET', BELL) == IN_VAIN then redis.call('DEL', BELL) end
  if how == '2' then redis.call('DEL', WAITER) end
end
