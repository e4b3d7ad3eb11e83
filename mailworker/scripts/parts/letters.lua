-- The fates of a mail's recipients, a letter each: p pending, d delivered, b bounced, i in doubt.
-- A 250 is a fact, whoever tells it; the rest is the owner's to say, and of pending recipients only.
-- Gives the letters as they are now, and whether anybody got the mail by this.
local function merge(before, letters, is_owner)
  if not string.find(letters, '[^d]') then return letters, before ~= letters end
  local at, is_news = 0, false
  local after = string.gsub(before, '.', function(old)
    at = at + 1
    local new = string.sub(letters, at, at)
    if new == 'd' and old ~= 'd' then is_news = true; return 'd' end
    if is_owner and old == 'p' and (new == 'b' or new == 'i') then return new end
  end)
  return after, is_news
end

-- The final state of a mail of which nothing is pending.
local function ending_of(letters)
  if string.find(letters, 'i') then return 'in_doubt' end
  if not string.find(letters, 'd') then return 'dead' end
  return string.find(letters, 'b') and 'partial' or 'sent'
end
