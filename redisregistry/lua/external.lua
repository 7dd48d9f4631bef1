-- The sessions under an external ID: session, and the key it had when it came.
--
-- KEYS[1] a hash   ARGV[1] what to do
--   'enter', ARGV[2] session, ARGV[3] key, ARGV[4] when the user proved who he is, ARGV[5]
--            time to live in ms: answers whether it may
--   'close', ARGV[2] time to live in ms, ARGV[3] the moment, if that was before, or '':
--            refuses those who proved it before now, and lists all
--   'rekey', ARGV[2] session, ARGV[3] the old key, ARGV[4] the new key, ARGV[5] time to
--            live in ms
local time = redis.call('TIME')

local function keep(ms)
  if redis.call('PTTL', KEYS[1]) < tonumber(ms) then
    redis.call('PEXPIRE', KEYS[1], ms)
  end
end

local list = {}
if ARGV[1] == 'enter' then
  local closed = redis.call('HGET', KEYS[1], '#closed')
  if closed and tonumber(ARGV[4]) < tonumber(closed) then
    list[1] = 0
  else
    redis.call('HSET', KEYS[1], 'p' .. ARGV[2], ARGV[3])
    keep(ARGV[5])
    list[1] = 1
  end
elseif ARGV[1] == 'close' then
  for i, v in ipairs(redis.call('HGETALL', KEYS[1])) do
    list[i] = v
  end
  local moment = tonumber(ARGV[3]) or (time[1] * 1000000 + time[2])
  if moment > (tonumber(redis.call('HGET', KEYS[1], '#closed') or '') or 0) then
    redis.call('HSET', KEYS[1], '#closed', string.format('%.0f', moment))
  end
  keep(ARGV[2])
elseif redis.call('HGET', KEYS[1], 'p' .. ARGV[2]) == ARGV[3] then
  redis.call('HSET', KEYS[1], 'p' .. ARGV[2], ARGV[4])
  keep(ARGV[5])
end
list[#list + 1] = time[1]
list[#list + 1] = time[2]
return list
