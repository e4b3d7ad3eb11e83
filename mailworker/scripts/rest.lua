-- rest: leave a lane alone for so long, whatever its relay does meanwhile.
-- KEYS     lane
-- ARGV     ms, reason, by hand 0|1 (then only a person ends it). Whoever rings afterwards finds that nobody was told.
-- ANSWERS  1, or 0 where a person has paused it
-- PARTS    lane clock room bell
if ARGV[3] == '0' and is_by_hand() then return 0 end
redis.call('HSET', PAUSE, 'until', int(NOW + ARGV[1]), 'reason', ARGV[2], 'kind', ARGV[3] == '1' and 'hand' or 'rest')
redis.call('DEL', BELL)
return 1
