-- Reads the index of a user.
--
-- Answers: what is told of the last login, or ''; session, key and state of each place.
local list = {meta['#last'] or ''}
for _, session in ipairs(sorted) do
  local p = places[session]
  list[#list + 1] = session
  list[#list + 1] = p[KEY]
end
return answer(list)
