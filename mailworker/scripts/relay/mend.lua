-- mend: have begin anew what makes no sense: a key of another type, a field that is no number, or one that cannot be.
-- KEYS     those of a script of relay/ that failed
-- ARGV     -
-- ANSWERS  the keys that were mended
-- PARTS    clock sound
-- NOTE     A breaker is closed then, in an epoch after all others; a limit counts as used up, which `look` writes down.
redis.call('HDEL', KEYS[1] .. ':', '') -- needs no memory: from here on a full server refuses nothing to this script
local HASHES = {breaker = true, links = true, most = true, token = true, lesson = true, bucket = true}
local TEXTS = {reason = true, fetcher = true, blob = true}
local STATES = {closed = true, open = true, half_open = true}
-- What scripts wait for must end; and where one field says nothing without the others, all begins anew.
local NEAR = {breaker = {till = true}, most = {at = true}, token = {leave = true, hold = true, renewed = true}}
local WHOLE = {breaker = true, failures = true, lesson = true, most = true}

local function is_number(value, ahead) return string.find(value, '^%d+$') and pcall(sound, value, nil, ahead) end

local function makes_sense(kind, name, value)
  local has, wants, since = string.match(value, '^(%d+)/(%d+)/(%d+)$')
  if kind == 'links' then return has and #has < 6 and #wants < 6 and is_number(since) end
  if kind == 'breaker' and name == 'state' then return STATES[value] end
  if kind == 'bucket' and name ~= 'tat' and name ~= 'full' and not is_number(name) then return false end
  if name == 'tat' then return (pcall(sound, value)) end
  return TEXTS[name] or is_number(value, NEAR[kind] and NEAR[kind][name] and A_WHILE)
end

-- Whether there was anything to drop.
local function drop_nonsense(kind, key)
  local held = kind == 'failures' and redis.pcall('LRANGE', key, 0, -1)
    or redis.pcall(HASHES[kind] and 'HGETALL' or 'ZCARD', key)
  if type(held) == 'table' and held.err then
    redis.call('DEL', key)
    return true
  end
  local is_bad = false
  for n = 1, type(held) == 'table' and #held or 0 do
    if kind == 'failures' then
      is_bad = is_bad or not is_number(held[n])
    elseif n % 2 == 1 and not makes_sense(kind, held[n], held[n + 1]) then
      redis.call('HDEL', key, held[n])
      is_bad = true
    end
  end
  if is_bad and WHOLE[kind] then redis.call('DEL', key) end
  return is_bad
end

local mended = {}
for _, key in ipairs(KEYS) do
  local kind = string.match(key, '}:(%a+)')
  if drop_nonsense(kind, key) then
    mended[#mended + 1] = key
    if kind == 'breaker' then redis.call('HSET', key, 'epoch', int(NOW)) end
    if kind == 'bucket' then
      redis.call('HSET', key, 'full', '1')
      redis.call('PEXPIRE', key, 86400000)
    end
  end
end
return mended
