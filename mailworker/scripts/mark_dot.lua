-- mark_dot: record that final dots are about to be written. Whoever gets a 0 has lost the mail and must not send it.
-- KEYS     lane, a record for each mail
-- ARGV     lease ms; for each mail: id, fence
-- ANSWERS  for each mail: 1 marked, lease extended | 0
-- PARTS    lane clock room reading marking
return mark(9, 2, #KEYS - 8, ARGV[1], '')
