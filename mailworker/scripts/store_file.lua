-- store_file: put a file there that mails are about to share.
-- KEYS     lane, the file
-- ARGV     its content, ms to keep it if no mail comes to need it
-- ANSWERS  1 stored | 0 it was there; it stays as long either way
-- PARTS    -
local is_new = redis.call('HSETNX', KEYS[9], 'data', ARGV[1])
if redis.call('HEXISTS', KEYS[9], 'refs') == 0 then redis.call('PEXPIRE', KEYS[9], ARGV[2]) end
return is_new
