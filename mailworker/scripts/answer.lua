-- answer: the bell that began a drain is no longer outstanding, though the drain has to wait before it can claim.
-- KEYS     lane
-- ARGV     bell ttl ms
-- ANSWERS  bell due 0|1, mails in line
-- PARTS    lane clock room bell
redis.call('DEL', BELL)
return {ring(ARGV[1]), redis.call('ZCARD', READY)}
