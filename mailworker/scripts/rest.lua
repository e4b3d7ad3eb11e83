-- rest: leave a lane alone for so long, whatever its relay does meanwhile. What it was left alone for before is
-- forgotten.
-- KEYS     lane
-- ARGV     ms, reason, by hand 0|1 (then only a person ends it), ms in which the reason ends, '' if nobody knows.
--          Whoever rings afterwards finds that nobody was told.
-- ANSWERS  1, or 0 where a person has paused it
-- PARTS    lane clock room bell
local by_hand = ARGV[3] == '1'
if not by_hand and is_by_hand() then return 0 end
redis.call('DEL', PAUSE, BELL, WAITER)
redis.call('HSET', PAUSE, 'until', int(NOW + ARGV[1]), 'since', int(NOW), 'reason', ARGV[2],
  'kind', by_hand and 'hand' or 'rest')
if ARGV[4] ~= '' then redis.call('HSET', PAUSE, 'ends', int(NOW + ARGV[4])) end
return 1
