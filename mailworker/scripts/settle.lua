-- settle: write verdicts. Delivered is a fact, whoever tells it; anything else must come from the owner of the claim.
-- KEYS     lane, a record for each mail
-- ARGV     how long to keep ended records; for each mail: id, fence, letters (one for
--          each recipient: d b i, or - and p for unchanged), ms until the pending ones are due, told, error, note,
--          1 possible duplicate, 2 nothing was tried, or 0; by which relay. What is missing is ''.
-- ANSWERS  for each mail: its state, or fenced: the caller does not own the claim (a fact that it told is kept)
-- PARTS    lane clock room reading keeping files ending history letters settling
return settle_all(9, 2, #KEYS - 8, ARGV[1])
