-- token: the token of a relay's account; or leave to fetch one, which one process at a time is given.
-- KEYS     the token
-- ARGV     who asks, the version that the relay refused ('' for none), ms of the leave, ms before its end that it is replaced
-- ANSWERS  held | refresh | wait | failed, version, the sealed token, ms until asking again makes sense, reason
-- PARTS    clock sound
local JUST_RENEWED = 60000
local who, refused, lease, early = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('HDEL', KEYS[1], '') -- needs no memory: from here on a full server refuses nothing to this script
local version, blob, ends, lives, fetcher, leave, hold, reason, renewed =
  unpack(redis.call('HMGET', KEYS[1], 'version', 'blob', 'ends', 'lives', 'fetcher', 'leave', 'hold', 'reason', 'renewed'))
version, ends, lives = sound(version, 0), sound(ends, 0), sound(lives, 0)
leave, hold, renewed = sound(leave, 0, A_WHILE), sound(hold, 0, A_WHILE), sound(renewed, 0, A_WHILE)
local is_refused = refused ~= '' and tonumber(refused) == version
local works = blob and NOW < ends and not is_refused

if works and NOW < ends - math.min(early, lives / 4) then return {'held', version, blob, 0, ''} end
if is_refused and NOW < renewed + JUST_RENEWED then
  return {'failed', version, '', JUST_RENEWED, 'refused|the relay refuses a token that has just been renewed'}
end
if hold > NOW then
  if works then return {'held', version, blob, 0, ''} end
  return {'failed', version, '', math.ceil(hold - NOW), reason or ''}
end
if leave > NOW and fetcher ~= who then
  if works then return {'held', version, blob, 0, ''} end
  return {'wait', version, '', math.ceil(math.min(200, leave - NOW)), ''}
end
redis.call('HSET', KEYS[1], 'fetcher', who, 'leave', int(NOW + lease))
return {'refresh', version, blob or '', 0, is_refused and 'refused' or ''}
