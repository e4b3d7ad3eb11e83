-- A mail's history: lines of JSON, the last 20 of them. `line` is an object; when it was is told by the ledger's clock.
local function remember(record, line)
  line = '{"at":' .. int(NOW) .. ',' .. string.sub(line, 2)
  local history = redis.call('HGET', record, 'history')
  history = history and history .. '\n' .. line or line
  local _, breaks = string.gsub(history, '\n', '')
  if breaks >= 20 then history = string.sub(history, string.find(history, '\n', 1, true) + 1) end
  redis.call('HSET', record, 'history', history)
end

-- What happened to a mail without a worker to tell it. `more`: further fields, each after a comma.
local function note(record, event, more)
  remember(record, '{"event":"' .. event .. '"' .. (more or '') .. '}')
end
