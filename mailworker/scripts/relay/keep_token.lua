-- keep_token: keep a token that was fetched, for all processes; unless another one was kept meanwhile.
-- KEYS     the token
-- ARGV     the version that it replaces, the sealed token, ms that it lives, 1 if the relay had refused the old one
-- ANSWERS  its version, or 0
-- PARTS    clock
local KEPT = 100 * 86400000 -- a refresh token that was replaced must not be lost with it
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
if tonumber(redis.call('HGET', KEYS[1], 'version') or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], 'fetcher', 'leave', 'hold', 'reason', 'renewed')
local lives = math.min(ARGV[3], KEPT)
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'blob', ARGV[2], 'lives', int(lives), 'ends', int(NOW + lives))
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'renewed', int(NOW)) end
redis.call('PEXPIRE', KEYS[1], KEPT)
return ARGV[1] + 1
