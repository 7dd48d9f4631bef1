-- Changes a record if it is still what the caller has read.
--
-- KEYS[1] the record
-- ARGV[1] what it was, '' for nothing    ARGV[2] what it is to be, '' for nothing
-- ARGV[3] its time to live, in ms        ARGV[4] the channel that is told, or ''
-- ARGV[5] the store key, for those who are told
local current = redis.call('GET', KEYS[1]) or ''
local time = redis.call('TIME')
if current ~= ARGV[1] then
  return {0, current, time[1], time[2]}
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
if ARGV[4] ~= '' then
  redis.call('PUBLISH', ARGV[4], #ARGV[5] .. ':' .. ARGV[5] .. ARGV[2])
end
return {1, '', time[1], time[2]}
