-- Says that somebody walks over all due entries.
--
-- KEYS[1] a hash   ARGV[1] who   ARGV[2] how long that may take, in ms
redis.call('HSET', KEYS[1], ARGV[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
