-- wait: a drain has to wait a moment before it may send. One of a lane is enough: others had better do something else.
-- KEYS     lane
-- ARGV     who, ms that it has to wait, answering a bell 0|1
-- ANSWERS  1 if it is to wait, 0 if there is nothing to wait for, or another does
-- PARTS    lane room
local GRACE, QUIET = 1000, 250
local waiter = redis.call('GET', WAITER)
local stays = redis.call('ZCARD', READY) > 0 and (not waiter or waiter == ARGV[1])
if stays then redis.call('SET', WAITER, ARGV[1], 'PX', ARGV[2] + GRACE) end
if ARGV[3] == '1' then
  -- Whoever came in vain need not be followed at once.
  if stays or not waiter then redis.call('DEL', BELL) else redis.call('SET', BELL, IN_VAIN, 'PX', QUIET) end
end
return stays and 1 or 0
