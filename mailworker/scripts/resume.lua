-- resume: leave a lane alone no longer.
-- KEYS     lane
-- ARGV     a pause by hand too 0|1
-- ANSWERS  1, or 0 where it was not paused, or only a person may end it
-- PARTS    lane clock room bell
if ARGV[1] == '0' and is_by_hand() then return 0 end
return redis.call('DEL', PAUSE)
