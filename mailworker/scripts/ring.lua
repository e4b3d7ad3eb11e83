-- ring: try to take the lane's bell.
-- KEYS     lane
-- ARGV     bell ttl ms
-- ANSWERS  1 the caller must publish a bell | 0 one is outstanding
-- PARTS    lane room
return redis.call('SET', BELL, '1', 'NX', 'PX', ARGV[1]) and 1 or 0
