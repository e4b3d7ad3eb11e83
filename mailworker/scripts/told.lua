-- told: the ends of these mails were told. A sent mail is done with; another one may be requeued, and end anew.
-- KEYS     lane, a record for each mail
-- ARGV     ms to keep the record of a sent mail, of another ended mail; for each mail: id, the state that was told
-- ANSWERS  mails done with
-- PARTS    lane room
local done = 0
for n = 1, #KEYS - 8 do
  local record, id, told = KEYS[8 + n], ARGV[1 + 2 * n], ARGV[2 + 2 * n]
  if redis.call('HGET', record, 'state') == told then
    redis.call('ZREM', UNTOLD, id)
    if told == 'sent' then redis.call('HDEL', record, 'callbacks') end
    redis.call('PEXPIRE', record, told == 'sent' and ARGV[1] or ARGV[2])
    done = done + 1
  end
end
return done
