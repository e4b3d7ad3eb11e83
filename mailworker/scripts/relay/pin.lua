-- pin: keep a relay at a rate, whatever it says, until it is unpinned; unpinned, what it taught is forgotten.
-- KEYS     the relay's lesson
-- ARGV     the rate in thousandths a second, or '' to unpin
-- ANSWERS  1
-- PARTS    clock
redis.call('HDEL', KEYS[1], 'rate', 'ceiling', 'hold', 'pinned', 'tat', 'at')
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'rate', ARGV[1], 'pinned', '1', 'at', int(NOW))
  redis.call('PERSIST', KEYS[1])
end
return 1
