-- Moments that pace (GCRA): when the next unit would come if all came evenly. To the thousandth of a ms, or a pace of
-- thousands a second would be rounded away.
local function exact(ms) return string.format('%.3f', ms) end

-- Never before now, and never so far ahead that only a clock that was set back can have left it there.
local function sane_tat(tat, most_ahead)
  if not tat or tat < NOW or tat > NOW + most_ahead + 1 then return NOW end
  return tat
end
