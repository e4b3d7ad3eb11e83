-- switch: move a breaker by hand: open it for a while, hold it open, or close it.
-- KEYS     breaker, its failures, its probes
-- ARGV     open | held | closed, ms that it stays open, reason
-- ANSWERS  state before
-- PARTS    clock breaker
local breaker = read_breaker(KEYS[1])
local state = ARGV[1] == 'closed' and 'closed' or 'open'
move(KEYS, breaker, state, state == 'open' and NOW + ARGV[2] or 0, ARGV[3], ARGV[1] == 'held')
return breaker.held and 'held' or breaker.state
