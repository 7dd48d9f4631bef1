-- KEYS[1]: a remembered browser. ARGV: what is there, "" for nothing; what shall
-- be there, "" to delete it; its time to live in milliseconds. Answers 1 if it was
-- swapped, else 0.
local there = redis.call('GET', KEYS[1]) or ''
if there ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
