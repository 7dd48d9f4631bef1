-- Stores data if what is there is still what the caller has read.
--
-- KEYS[1] the data
-- ARGV[1] 1, or 0 if nothing was there   ARGV[2] what was there
-- ARGV[3] what is to be there            ARGV[4] its time to live in ms; 0 is none at all
local current = redis.call('GET', KEYS[1])
local same
if ARGV[1] == '0' then
  same = not current
else
  same = current == ARGV[2]
end
if not same then
  if current then
    return {0, current}
  end
  return {0}
end
if ARGV[4] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return {1}
