-- sign: write a worker's sign of life; forget workers that gave none for long.
-- KEYS     roll: when each was seen, what each said
-- ARGV     name, its sign or '' if it leaves, ms after which a silent worker is forgotten
-- ANSWERS  1
-- PARTS    clock
-- NOTE     It begins with a write that needs no memory, so that a full server lets it go on.
local SEEN, SIGNS = KEYS[1], KEYS[2]
local name, sign, keep = ARGV[1], ARGV[2], ARGV[3]
redis.call('ZREM', SEEN, '')
local gone = redis.call('ZRANGEBYSCORE', SEEN, '-inf', int(NOW - keep))
if sign == '' then
  gone[#gone + 1] = name
else
  redis.call('ZADD', SEEN, int(NOW), name)
  redis.call('HSET', SIGNS, name, sign)
end
for _, who in ipairs(gone) do
  redis.call('ZREM', SEEN, who)
  redis.call('HDEL', SIGNS, who)
end
redis.call('PEXPIRE', SEEN, keep)
redis.call('PEXPIRE', SIGNS, keep)
return 1
