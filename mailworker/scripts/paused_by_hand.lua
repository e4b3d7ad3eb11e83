-- paused_by_hand: for how long a person wants a lane left alone. Writes nothing.
-- KEYS     lane
-- ARGV     -
-- ANSWERS  ms, 0 if nobody does
-- PARTS    lane clock bell
return is_by_hand() and math.ceil(paused()) or 0
