-- The fates of a mail's recipients, a letter each: p pending, d delivered, b bounced, i in doubt.
-- A 250 is a fact, whoever tells it; the rest is the owner's to say, and of pending recipients only.
local function merge(before, letters, is_owner)
  local at, delivered = 0, 0
  local after = string.gsub(before, '.', function(old)
    at = at + 1
    local new = string.sub(letters, at, at)
    if new == 'd' and old ~= 'd' then delivered = delivered + 1; return 'd' end
    if is_owner and old == 'p' and (new == 'b' or new == 'i') then return new end
  end)
  return after, delivered
end

-- The final state of a mail of which nothing is pending.
local function ending_of(letters)
  if string.find(letters, 'i') then return 'in_doubt' end
  if not string.find(letters, 'd') then return 'dead' end
  return string.find(letters, 'b') and 'partial' or 'sent'
end
