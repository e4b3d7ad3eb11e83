-- A number, as it was written down. What is none ends the script: whoever called has the key mended (relay/mend), and
-- asks again.
local function sound(value, otherwise)
  if not value then return otherwise end
  if #value > 18 or not string.find(value, '^%d+%.?%d*$') then error('UNSOUND') end
  return tonumber(value)
end
