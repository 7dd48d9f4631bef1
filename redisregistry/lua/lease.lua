-- Leases entries that are due to the caller, who looks at their sessions.
--
-- KEYS[1] a part of the due entries   ARGV[1] how many   ARGV[2] the lease, in ms
--
-- Answers: the members; until when they are leased, and until when Redis keeps them, in
-- ms; the time.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
now = now - now % 2 -- even, and whatever else sets a time makes it odd: nobody takes one for the other
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now + 1), 'LIMIT', 0, ARGV[1])
local until_ = string.format('%.0f', now + tonumber(ARGV[2]))
for _, member in ipairs(members) do
  redis.call('ZADD', KEYS[1], until_, member)
end
members[#members + 1] = until_
members[#members + 1] = string.format('%.0f', now + redis.call('PTTL', KEYS[1]))
members[#members + 1] = time[1]
members[#members + 1] = time[2]
return members
