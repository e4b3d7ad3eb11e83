-- wake: put scheduled and deferred mails that are due in line, and forget the parked ones whose time is over.
-- KEYS     lane
-- ARGV     most mails, how long to keep ended records
-- ANSWERS  mails put in line, the ids of those that expired, more waiting 0|1
-- PARTS    lane clock room queue front flows reading keeping files ending history expiry quarantine unreadable
local most, keep = tonumber(ARGV[1]), ARGV[2]

local function forget(state, before, most)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. state, '-inf', int(before), 'LIMIT', 0, most)) do
    local record = record_of(id)
    local now, files = fields_of(record, 'state', 'files')
    -- Not before its callbacks were told, which needs the record.
    if not redis.call('ZSCORE', UNTOLD, id) then
      redis.call('ZREM', PREFIX .. state, id)
      if now == state then
        drop_files(files)
        redis.call('DEL', record)
      end
    end
  end
end

forget_flows()
local woken, expired = 0, {}

local waiting = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'WITHSCORES', 'LIMIT', 0, most)
for n = 1, #waiting, 2 do
  local id, due = waiting[n], waiting[n + 1]
  local record = record_of(id)
  local state, priority, expires, tenant = fields_of(record, 'state', 'priority', 'expires', 'tenant')
  if state ~= 'scheduled' and state ~= 'deferred' then
    misplaced(record, id, state, DUE, keep)
  elseif expires and not number(expires) then
    quarantine(record, id, 'one of its numbers makes no sense', keep)
  elseif expires and tonumber(expires) <= NOW then
    expire(record, id, keep)
    expired[#expired + 1] = id
  else
    redis.call('ZREM', DUE, id)
    redis.call('HSET', record, 'state', 'ready', 'due', due)
    take_turn(id, rank_of(priority), tenant)
    woken = woken + 1
  end
end
write_turns()
for state in pairs(IS_FINAL) do
  if state ~= 'sent' then forget(state, NOW - kept(state, keep), most) end
end
redis.call('ZREMRANGEBYSCORE', UNREADABLE, '-inf', int(NOW - 3 * PUT_OFF))
return {woken, expired, #waiting == 2 * most and 1 or 0}
