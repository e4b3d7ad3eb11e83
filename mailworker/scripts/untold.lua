-- untold: take mails that have ended and whose callbacks are due, for so long that nobody else takes them meanwhile.
-- KEYS     lane
-- ARGV     most mails, ms until they are due again
-- ANSWERS  for each mail: id, state, callbacks, when it ended
-- PARTS    lane clock room reading
local answer = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNTOLD, '-inf', int(NOW), 'LIMIT', 0, ARGV[1])) do
  local state, callbacks, ended = fields_of(record_of(id), 'state', 'callbacks', 'ended')
  if not callbacks or IS_OPEN[state] then
    -- Gone, or given another go by hand: its next end will be told.
    redis.call('ZREM', UNTOLD, id)
  else
    redis.call('ZADD', UNTOLD, int(NOW + ARGV[2]), id)
    answer[#answer + 1] = {id, state, callbacks, ended or '0'}
  end
end
return answer
