-- Says when to look at sessions.
--
-- KEYS[1] a part of the due entries
-- ARGV    of each session: the member; when, in ms; how long the entry may be needed, in
--         ms; and 'set', 'earlier' if it is not due before that already, or the time that
--         it must still have, so that nobody's later wish is lost
local longest = 0
for i = 1, #ARGV, 4 do
  local member, at, ttl, how = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local wanted = how == 'set'
  if not wanted then
    local score = redis.call('ZSCORE', KEYS[1], member)
    if how == 'earlier' then
      wanted = not score or tonumber(score) > tonumber(at)
    else
      wanted = score and tonumber(score) == tonumber(how)
    end
  end
  if wanted then
    redis.call('ZADD', KEYS[1], at, member)
    longest = math.max(longest, ttl)
  end
end
if longest > 0 and redis.call('PTTL', KEYS[1]) < longest then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', longest))
end
return 1
