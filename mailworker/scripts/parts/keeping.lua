-- For how many ms the record of a mail that ended so is kept. `keep`: 'sent=604800000 dead=...'.
local function kept(state, keep) return tonumber(string.match(keep, state .. '=(%d+)')) end
