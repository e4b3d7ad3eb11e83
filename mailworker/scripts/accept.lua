-- accept: write new mails into the ledger, and into the queue or the schedule; all of them or none.
-- KEYS     lane, a record for each mail, a key for each mail that has an idempotency key, the files that they share
-- ARGV     bell ttl ms, ttl ms of an idempotency key, number of mails, of idempotency keys; for each mail: id, due,
--          expires, payload, envelope, letters of its recipients, priority, digest of its idempotency key, its own most
--          attempts, own policy in doubt, its callbacks, names of its files, their bytes, tenant (name*share), or ''.
--          due and expires: '+n' is n ms from now, 'n' is n ms since the epoch; expires '>n' is n ms after due.
-- ANSWERS  bell due 0|1; for each mail: accepted | already | duplicate, and the id of the mail that stands; or, nothing
--          done: -1, the keys of files that must be stored before
-- PARTS    lane clock queue bell moment files
-- NOTE     No write may come before the first HSET: refused there for lack of memory, the call has done nothing.
local FIELDS = 14
-- What a record keeps as it is told, in the order in which it is.
local KEPT = {'payload', 'envelope', 'recipients', 'priority', 'key', 'max_attempts', 'in_doubt', 'callbacks', 'files',
  'weight', 'tenant'}
local mails, accepted, keyed, answer, is_work = tonumber(ARGV[3]), 0, 0, {0}, false
local missing = missing_files(9 + mails + ARGV[4])
if #missing > 0 then return {-1, unpack(missing)} end
for n = 1, mails do
  local first = 5 + (n - 1) * FIELDS
  local id, due_in, expires_in, _, _, _, priority, digest, _, _, _, files, _, tenant =
    unpack(ARGV, first, first + FIELDS - 1)
  local record, key, owner = KEYS[8 + n], nil, false
  if digest ~= '' then
    keyed = keyed + 1
    key = KEYS[8 + mails + keyed]
    owner = redis.call('GET', key)
  end
  if redis.call('EXISTS', record) == 1 then
    answer[#answer + 1], answer[#answer + 2] = 'already', id
  elseif owner and owner ~= id then
    answer[#answer + 1], answer[#answer + 2] = 'duplicate', owner
  else
    local due = moment(due_in)
    local expires = moment(expires_in, due)
    local is_later = due and due > NOW
    local fields = {'version', '2', 'state', is_later and 'scheduled' or 'ready', 'accepted', int(NOW)}
    for at, name in ipairs(KEPT) do
      local value = ARGV[first + 2 + at]
      if value ~= '' then fields[#fields + 1], fields[#fields + 2] = name, value end
    end
    if is_later then fields[#fields + 1], fields[#fields + 2] = 'due', int(due) end
    if expires then fields[#fields + 1], fields[#fields + 2] = 'expires', int(expires) end
    redis.call('HSET', record, unpack(fields))
    take_files(files)
    if key then redis.call('SET', key, id, 'PX', ARGV[2]) end
    if is_later then
      -- A mail that expires on the schedule is looked at then, not when it would have been due.
      redis.call('ZADD', DUE, int(math.min(due, expires or due)), id)
    else
      take_turn(id, rank_of(priority), tenant)
      is_work = true
    end
    accepted = accepted + 1
    answer[#answer + 1], answer[#answer + 2] = 'accepted', id
  end
end
if accepted > 0 then tally('accepted', accepted) end
write_turns()
if is_work then answer[1] = ring(ARGV[1], true) end
return answer
