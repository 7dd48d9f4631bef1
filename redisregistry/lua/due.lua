-- Says when to look at a session.
--
-- KEYS[1] a part of the due entries   ARGV[1] the member   ARGV[2] when, in ms
-- ARGV[3] how long the entry may be needed, in ms
-- ARGV[4] 'set'; 'earlier' if it is not due before that already; or the time that
--         it must still have, so that nobody's later wish is lost
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[4] == 'earlier' then
  if score and tonumber(score) <= tonumber(ARGV[2]) then
    return 0
  end
elseif ARGV[4] ~= 'set' then
  if not score or tonumber(score) ~= tonumber(ARGV[4]) then
    return 0
  end
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
