-- Reads the index of a user.
--
-- ARGV[1] 'all', or 'counted' for those who make room for nobody yet
--
-- Answers: what is told of the last login, or ''; session and key of each place.
if ARGV[1] == 'all' then
  readMarked()
end
local list = {meta['#last'] or ''}
for _, session in ipairs(sorted) do
  list[#list + 1] = session
  list[#list + 1] = places[session][KEY]
end
return answer(list)
