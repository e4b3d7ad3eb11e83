-- A number, as it was written down. What is none, or is more than anything can be that is counted or timed here (in ms,
-- the year 2286), ends the script: whoever called has the key mended (relay/mend), and asks again. `ahead`: so many ms
-- from now it can be at most; where only a clock that was set back can have left it, it is as good as nonsense.
local LATEST, A_WHILE, MOST_LINKS = 1e13, 172800000, 99999

local function sound(value, otherwise, ahead)
  if not value then return otherwise end
  local number = #value <= 18 and string.find(value, '^%d+%.?%d*$') and tonumber(value)
  if not number or number >= LATEST or ahead and number > NOW + ahead then error('UNSOUND') end
  return number
end
