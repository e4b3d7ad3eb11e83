-- requeue: give ended mails another go, to those who have not got them. Attempts start anew.
-- KEYS     lane, a record for each mail
-- ARGV     bell ttl ms, ms from now until they expire; the mails' ids
-- ANSWERS  bell due 0|1; for each mail: ready, or the state in which it is (not ended, sent, or its payload is gone),
--          or unknown
-- PARTS    lane clock room queue bell reading history
local answer = {0}
for n = 1, #KEYS - 8 do
  local record, id = KEYS[8 + n], ARGV[2 + n]
  local state, letters, priority, tenant = fields_of(record, 'state', 'recipients', 'priority', 'tenant')
  if IS_FINAL[state] and letters and redis.call('HEXISTS', record, 'payload') == 1 then
    redis.call('ZREM', PREFIX .. state, id)
    -- Whoever was in doubt may have got it already.
    if string.find(letters, 'i') then
      add(record, 'possible_duplicates', 1)
      tally('possible_duplicates', 1)
    end
    redis.call('PERSIST', record)
    redis.call('HDEL', record, 'ended', 'error', 'attempts')
    letters = string.gsub(letters, '[bi]', 'p')
    redis.call('HSET', record, 'state', 'ready', 'recipients', letters, 'due', int(NOW), 'expires', int(NOW + ARGV[2]))
    note(record, 'requeued')
    tally('requeued', 1)
    take_turn(id, rank_of(priority), tenant)
    state = 'ready'
  end
  answer[1 + n] = state or 'unknown'
end
write_turns()
answer[1] = ring(ARGV[1])
return answer
