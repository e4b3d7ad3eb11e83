-- Tenants that have had all their turns need not be remembered: of many, a part is looked at each time.
local REMEMBERED, LOOKED_AT = 200, 500

local function forget_flows()
  if redis.call('ZCARD', READY) == 0 then
    redis.call('DEL', TURNS)
  elseif redis.call('HLEN', TURNS) > REMEMBERED then
    local part = redis.call('HSCAN', TURNS, redis.call('HGET', TURNS, 'cursor') or '0', 'COUNT', LOOKED_AT)
    for n = 1, #part[2], 2 do
      local rank = string.match(part[2][n], '^(%d+):')
      if rank and tonumber(part[2][n + 1]) <= front_of(rank) then redis.call('HDEL', TURNS, part[2][n]) end
    end
    redis.call('HSET', TURNS, 'cursor', part[1])
  end
end
