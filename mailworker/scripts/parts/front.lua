-- The front of a rank: where the mail stood that was claimed last.
local function front_of(rank) return tonumber(redis.call('HGET', TURNS, rank) or NOW) end

-- `claimed`: for each priority, of those that are claimed the last in line.
local function move_fronts(claimed)
  for _, id in pairs(claimed) do
    local score = tonumber(redis.call('ZSCORE', READY, id))
    local rank = math.floor(score / 1e13)
    -- Who was recovered waits for nobody's turn.
    if rank > 0 then redis.call('HSET', TURNS, rank, int(score - rank * 1e13)) end
  end
end
