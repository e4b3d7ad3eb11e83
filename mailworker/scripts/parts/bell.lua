-- The ms for which the lane is still to be left alone.
local function paused() return math.max(0, (tonumber(redis.call('HGET', PAUSE, 'until') or 0) or 0) - NOW) end

-- Whether a person has paused it, so that only a person, or the time, ends that.
local function is_by_hand() return paused() > 0 and redis.call('HGET', PAUSE, 'kind') == 'hand' end

-- 1 if there is work and nobody was told, so that whoever asked must publish a bell; else 0.
local function ring(ttl)
  if paused() > 0 or redis.call('ZCARD', READY) == 0 then return 0 end
  return redis.call('SET', BELL, '1', 'NX', 'PX', ttl) and 1 or 0
end
