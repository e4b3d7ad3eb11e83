-- Record that final dots are about to be written. `arg`: where id and fence of the first mail stand; `key`: its record.
-- `relay`: by which they go, '' if that is not told.
local function mark(key, arg, mails, lease, relay)
  local lease_until, answer, leases, by = int(NOW + lease), {}, {}, relay ~= '' and {'relay', relay} or {}
  for n = 1, mails do
    local record, id, fence = KEYS[key + n - 1], ARGV[arg + 2 * n - 2], ARGV[arg + 2 * n - 1]
    local state, held = fields_of(record, 'state', 'fence')
    answer[n] = 0
    if state == 'sending' and held == fence then
      redis.call('HSET', record, 'phase', 'dot', unpack(by))
      leases[#leases + 1], leases[#leases + 2] = lease_until, id
      answer[n] = 1
    end
  end
  if #leases > 0 then redis.call('ZADD', CLAIMS, unpack(leases)) end
  return answer
end
