-- The ready queue: rank first, then virtual time (start-time fair queueing: Goyal, Vin, Cheng 1996); equal times in order
-- of the ids, which begin with the time they were made. A mail stands a step behind the last one of its tenant, or, if
-- that has had its turn, behind the front: so tenants take turns, however many mails one of them has. Virtual time
-- begins at the clock's, in ms, so what older versions put in line by the clock comes first.
local RECOVERED, STEP, LATEST = 0, 1000, 1e13 - 1
local flows = {}

local function rank_of(priority)
  priority = tonumber(priority or 0)
  return priority and priority >= 0 and priority <= 9 and 1 + priority or 1
end

local function line_up(id, rank, at) redis.call('ZADD', READY, int(rank * 1e13 + at), id) end

-- 'big*5' has five turns where others have one: his steps are a fifth as long.
local function new_flow(rank, tenant)
  local step, name = STEP, rank .. ':'
  if tenant ~= '' then
    local bare, share = string.match(tenant, '^([^*]*)%*?(%d*)')
    step, name = math.floor(STEP / math.max(1, math.min(100, tonumber(share) or 1))), name .. bare
  end
  local front, last = unpack(redis.call('HMGET', TURNS, rank, name))
  if not front then redis.call('HSET', TURNS, rank, int(NOW)) end
  return {name = name, step = step, at = math.max(tonumber(front or NOW), tonumber(last or 0))}
end

local function take_turn(id, rank, tenant)
  local ranks = flows[tenant or '']
  if not ranks then
    ranks = {}
    flows[tenant or ''] = ranks
  end
  local flow = ranks[rank]
  if not flow then
    flow = new_flow(rank, tenant or '')
    ranks[rank] = flow
  end
  flow.at = math.min(LATEST, flow.at + flow.step)
  line_up(id, rank, flow.at)
end

-- Once, when all mails of a script stand in line.
local function write_turns()
  for _, ranks in pairs(flows) do
    for _, flow in pairs(ranks) do redis.call('HSET', TURNS, flow.name, int(flow.at)) end
  end
end
