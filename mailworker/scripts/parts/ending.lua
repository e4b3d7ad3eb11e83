-- The end of a mail: counted, told to whoever waits, and unless it was sent parked where it can be listed. Its
-- record stays for as long as `keep` says; a week at least while callbacks are due, for UNTOLD keeps them safe from a
-- crash between the end and its telling.
local A_WEEK = 7 * 86400000
local COUNTED_AS = {sent = 'delivered'}
-- What was sent is nobody's business any more; everything else may be wanted again.
local OF_SENDING = {'payload', 'error', 'priority', 'expires', 'max_attempts', 'in_doubt', 'key', 'files', 'weight'}

local function close(record, id, state, keep, callbacks, files, ...)
  redis.call('HDEL', record, 'phase', 'owner', 'due', 'unreadable', unpack(state == 'sent' and OF_SENDING or {}))
  redis.call('HSET', record, 'state', state, 'ended', int(NOW), ...)
  if state ~= 'sent' then redis.call('ZADD', PREFIX .. state, int(NOW), id) end
  local ms = kept(state, keep)
  if callbacks then
    redis.call('ZADD', UNTOLD, int(NOW), id)
    ms = math.max(ms, A_WEEK)
  end
  if files and state == 'sent' then drop_files(files) end
  -- A record that holds files is not to vanish by itself: `wake` ends it when its time is over.
  if state == 'sent' or not files then redis.call('PEXPIRE', record, int(ms)) end
  redis.call('PUBLISH', PREFIX .. 'ended:' .. id, state)
end

-- Out of every home, and of the list of those that nobody could read.
local function leave(id)
  for _, home in ipairs({READY, DUE, CLAIMS, UNREADABLE}) do redis.call('ZREM', home, id) end
end

local function finish(record, id, state, keep)
  leave(id)
  close(record, id, state, keep, unpack(redis.call('HMGET', record, 'callbacks', 'files'), 1, 2))
  tally(COUNTED_AS[state] or state, 1)
end
