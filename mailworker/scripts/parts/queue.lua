-- The ready queue: rank first, then time; equal times in order of the ids, which begin with the time they were made.
local RECOVERED = 0
local function rank_of(priority)
  priority = tonumber(priority or 0)
  return priority and priority >= 0 and priority <= 9 and 1 + priority or 1
end
local function line_up(id, rank, ms) redis.call('ZADD', READY, int(rank * 1e13 + ms), id) end
