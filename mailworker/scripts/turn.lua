-- turn: write the verdicts on one window, and record that the final dots of the next are about to be written.
-- KEYS     lane, a record for each mail that is settled, then for each that is marked
-- ARGV     number of mails settled, how long to keep ended records, lease ms, relay and epoch of the leave to send;
--          for each mail settled: what `settle` takes; for each mail marked: what `mark_dot` takes
-- ANSWERS  for each mail settled: its state, as of `settle`; for each mail marked: 1 | 0, as of `mark_dot`, or nothing
--          where a person wants no more of them to go
-- PARTS    lane clock room bell recalled reading keeping files ending history letters settling marking
local settled = tonumber(ARGV[1])
local answer = settle_all(9, 6, settled, ARGV[2])
if is_stopped(ARGV[4], ARGV[5]) then return answer end
for _, is_ours in ipairs(mark(9 + settled, 6 + settled * FIELDS, #KEYS - 8 - settled, ARGV[3], ARGV[4])) do
  answer[#answer + 1] = is_ours
end
return answer
