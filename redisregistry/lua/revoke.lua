-- Refuses logins that were authenticated before now, and lists who has a place.
--
-- ARGV[1] time to live in ms   ARGV[2] the moment, if that was before, or ''
--
-- Answers: the moment before which logins were refused until now, or ''; session and
-- key of each place.
readMarked()
local list = {meta['#nb'] or ''}
local moment = tonumber(ARGV[2]) or now
if moment > (tonumber(meta['#nb']) or 0) then
  redis.call('HSET', KEYS[1], '#nb', exact(moment))
end
keep(ARGV[1])
for _, session in ipairs(sorted) do
  list[#list + 1] = session
  list[#list + 1] = places[session][KEY]
end
return answer(list)
