-- Reads the index of a user.
--
-- ARGV[1] 'all', or 'counted' for those who make room for nobody yet
--
-- Answers: when the last login was, or '', and what is told of it; session and key of
-- each place.
if ARGV[1] == 'all' then
  readMarked()
end
local last, n = '', 0
while meta['#l' .. n] do
  last, n = last .. meta['#l' .. n], n + 1
end
local list = {meta['#lt'] or '', last}
for _, session in ipairs(sorted) do
  list[#list + 1] = session
  list[#list + 1] = places[session][KEY]
end
return answer(list)
