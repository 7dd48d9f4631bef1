-- Refuses logins of everybody that were authenticated before now.
--
-- KEYS[1] the moment, in microseconds   ARGV[1] time to live in ms
--
-- Answers: the moment.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('SET', KEYS[1], now, 'PX', ARGV[1])
return {now, time[1], time[2]}
