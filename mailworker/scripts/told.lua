-- told: the ends of these mails were told. A sent mail is done with; another one may be requeued, and end anew.
-- KEYS     lane, a record for each mail
-- ARGV     how long to keep ended records; for each mail: id, the state that was told, when it ended so
-- ANSWERS  mails done with
-- PARTS    lane clock room reading keeping
local done = 0
for n = 1, #KEYS - 8 do
  local record, id, told, at = KEYS[8 + n], unpack(ARGV, 3 * n - 1, 3 * n + 1)
  local state, ended, files = fields_of(record, 'state', 'ended', 'files')
  if state == told and (ended or '0') == at then
    redis.call('ZREM', UNTOLD, id)
    if told == 'sent' then redis.call('HDEL', record, 'callbacks') end
    if not files then redis.call('PEXPIRE', record, int(kept(told, ARGV[1]))) end
    done = done + 1
  end
end
return done
