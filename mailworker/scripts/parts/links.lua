-- Who may be connected: a sorted set of holders by the end of their leases, and a hash `has/wants/since` of each: since
-- when it has some, or has none. Who has none and asked but once, in passing, wants 0. What was learnt of the most: `most`, `at`, when, and `least`, to which complaints of
-- the moment that began `from` then may lower it. Each quiet while it grows by one again.
local QUIET, LONGEST_LEASE, IN_EARNEST = 300000, 60000, 400

local function bury(leases, held)
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', int(NOW))
  -- Of a clock that was set back: who lives renews in a moment.
  for _, who in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. int(NOW + LONGEST_LEASE), '+inf')) do
    dead[#dead + 1] = who
  end
  for _, who in ipairs(dead) do
    redis.call('ZREM', leases, who)
    redis.call('HDEL', held, who)
  end
end

local function most_links(learnt, configured)
  local most, at = unpack(redis.call('HMGET', learnt, 'most', 'at'))
  if not most then return configured end
  most = sound(most) + math.floor(math.max(0, NOW - sound(at, NOW, A_WHILE)) / QUIET)
  if most >= configured then redis.call('DEL', learnt) end
  return math.min(most, configured)
end

-- Look at all others: how many links they have, how many of them have some, and how many wait in earnest, not in passing;
-- at who asks; and how many have had some for longer than it, or waited for longer.
local function look_around(held, who)
  local seen = {others = 0, holders = 0, hungry = 0, before = 0}
  local flat, mine = redis.call('HGETALL', held), redis.call('HGET', held, who)
  local has, since = string.match(mine or '', '^(%d+)/%d+/(%d+)$')
  if mine and not has then error('UNSOUND') end
  seen.has, seen.since = sound(has, 0), math.min(sound(since, NOW), NOW)
  for n = 1, #flat, 2 do
    local its, wants, when = string.match(flat[n + 1], '^(%d+)/(%d+)/(%d+)$')
    if not its then error('UNSOUND') end
    its, wants, when = sound(its), sound(wants), sound(when)
    if its > MOST_LINKS or wants > MOST_LINKS then error('UNSOUND') end
    if flat[n] ~= who then
      seen.others = seen.others + its
      local waits = its == 0 and wants > 0
      if its > 0 then seen.holders = seen.holders + 1 elseif waits then seen.hungry = seen.hungry + 1 end
      local is_alike = seen.has > 0 and its > 0 or seen.has == 0 and waits
      if is_alike and (when < seen.since or when == seen.since and flat[n] < who) then seen.before = seen.before + 1 end
    end
  end
  return seen
end
