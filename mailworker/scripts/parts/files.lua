-- Files that several mails share: a hash of `data` and `refs`, how many mails need it.
local function each_file(names)
  local found = {}
  for name in string.gmatch(names or '', '%x+') do
    if #name == 64 then found[#found + 1] = PREFIX .. 'b:' .. name end
  end
  return found
end

local function drop_files(names)
  for _, file in ipairs(each_file(names)) do
    local left = redis.pcall('HINCRBY', file, 'refs', -1)
    if type(left) == 'number' and left < 1 then redis.call('DEL', file) end
  end
end

local function take_files(names)
  for _, file in ipairs(each_file(names)) do
    redis.call('HINCRBY', file, 'refs', 1)
    redis.call('PERSIST', file)
  end
end

-- Which of the files that begin at this key are not there.
local function missing_files(from)
  local missing = {}
  for n = from, #KEYS do
    if redis.call('HEXISTS', KEYS[n], 'data') == 0 then missing[#missing + 1] = KEYS[n] end
  end
  return missing
end
