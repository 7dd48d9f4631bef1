-- Refuses logins of everybody that were authenticated before now.
--
-- KEYS[1] the moment, in microseconds
-- ARGV[1] time to live in ms   ARGV[2] the moment, if that was before, or ''
local time = redis.call('TIME')
local moment = tonumber(ARGV[2]) or (time[1] * 1000000 + time[2])
if moment > (tonumber(redis.call('GET', KEYS[1]) or '') or 0) then
  redis.call('SET', KEYS[1], string.format('%.0f', moment), 'PX', ARGV[1])
end
return {time[1], time[2]}
