-- purge: forget ended mails for good.
-- KEYS     lane, a record for each mail
-- ARGV     the mails' ids
-- ANSWERS  for each mail: purged, or the state in which it is (not ended), or unknown
-- PARTS    lane room reading files
local answer = {}
for n = 1, #KEYS - 8 do
  local record, id = KEYS[8 + n], ARGV[n]
  -- What is quarantined may be no record at all.
  local state, files = fields_of(record, 'state', 'files')
  state = state or redis.call('ZSCORE', PREFIX .. 'quarantined', id) and 'quarantined'
  if IS_FINAL[state] then
    drop_files(files)
    redis.call('DEL', record)
    redis.call('ZREM', PREFIX .. state, id)
    redis.call('ZREM', UNTOLD, id)
    state = 'purged'
  end
  answer[n] = state or 'unknown'
end
return answer
