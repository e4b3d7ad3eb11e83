-- ring_untold: whether ends wait to be told, and nobody was asked of late to tell them.
-- KEYS     lane
-- ARGV     ms for which nobody else is asked
-- ANSWERS  1 the caller must have them told | 0
-- PARTS    lane clock room
if redis.call('ZCOUNT', UNTOLD, '-inf', int(NOW)) == 0 then return 0 end
return redis.call('SET', PREFIX .. 'telling', '1', 'NX', 'PX', ARGV[1]) and 1 or 0
