-- A moment as the ledger is told it, in ms since the epoch: '' none, 'n' itself, '+n' from now, '>n' after it is due.
local function moment(text, due)
  local sign, number = string.match(text, '^([+>]?)(%d+)$')
  if sign == '+' then return NOW + tonumber(number) end
  if sign == '>' then return math.max(NOW, due or 0) + tonumber(number) end
  return tonumber(number)
end
