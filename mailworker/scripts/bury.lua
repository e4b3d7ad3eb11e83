-- bury: do what `recover` does for claims of processes that are known to have ended, before their leases are over.
-- KEYS     lane, a record for each mail
-- ARGV     hold mails in doubt that say nothing themselves 0|1, bell ttl ms, how long to keep ended records; for each
--          mail: id, fence of that claim
-- ANSWERS  mails put in line, the ids of those that expired, of those in doubt, bell due 0|1
-- PARTS    lane clock room queue bell reading keeping files ending history expiry quarantine recovering
local done = new_recovery()
for n = 1, #KEYS - 8 do
  local id, fence = ARGV[2 + 2 * n], ARGV[3 + 2 * n]
  local state, held = fields_of(KEYS[8 + n], 'state', 'fence')
  if state == 'sending' and held == fence then
    recover(id, ARGV[1] == '1', ARGV[3], ',"why":"its process had ended"', done)
  end
end
return {done.recovered, done.expired, done.in_doubt, ring(ARGV[2])}
