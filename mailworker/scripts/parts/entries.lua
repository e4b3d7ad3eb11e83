-- An entry of a list of addresses that are not tried again, unless its time is over.
local function append(answer, ends, name, value)
  local till = value and tonumber(redis.call('ZSCORE', ends, name) or nil)
  if not till or till <= NOW then return end
  local since, sealed = string.match(value, '^(%d+):(.*)$')
  for _, told in ipairs({name, since, till < math.huge and int(till) or '', sealed}) do answer[#answer + 1] = told end
end
