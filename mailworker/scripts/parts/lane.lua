-- The lane's keys: the same eight, in the same order, for every script.
local READY, DUE, CLAIMS, DEAD, IN_DOUBT, BELL, PAUSE, COUNTS = unpack(KEYS, 1, 8)
local PREFIX = string.sub(READY, 1, -6)

-- Mails whose end is still to be told to their callbacks, by the ms when they are looked at next: same slot again.
local UNTOLD = PREFIX .. 'untold'

-- Mails that no worker could read, by when that was last found.
local UNREADABLE = PREFIX .. 'unreadable'

-- How far each rank of the ready queue has come, its front ('6'), and where the last mail of each of its tenants stands
-- ('6:shop-17'; '6:' is nobody's).
local TURNS = PREFIX .. 'turns'

-- Who waits until mails may be sent, so that nobody else need do so; and what a bell holds that was heard by others
-- meanwhile: it is not rung again for a moment, and calls nobody.
local WAITER, IN_VAIN = PREFIX .. 'waiter', '0'

-- The record of a mail that the script itself took from one of the lane's sets: same hash tag, same Cluster slot.
local function record_of(id) return PREFIX .. 'm:' .. id end

-- Count. A counter that makes no sense begins anew: nothing may stop for it.
local function tally(name, number)
  if type(redis.pcall('HINCRBY', COUNTS, name, number)) == 'number' then return end
  if type(redis.pcall('HDEL', COUNTS, name)) ~= 'number' then redis.pcall('DEL', COUNTS) end
  redis.pcall('HINCRBY', COUNTS, name, number)
end
