-- Says whom a login has to end before it may live: everybody who is marked, whoever
-- marked him; whom it names itself, though another login had marked him first and has
-- failed; and, should there still be no room, the oldest, or itself.
--
-- ARGV[1] session
--
-- Answers: 'gone', 'live' or 'full'; then of each victim, oldest first: session, key,
-- reason, ending, detail.
local session = ARGV[1]
readMarked()
local self = places[session]
if not self then
  return answer({'gone'})
end

local verdict = 'live'
if self[REASON] == '' then
  local alive = {}
  for _, other in ipairs(sorted) do
    local p = places[other]
    if other ~= session and p[REASON] == '' then
      local reason = names(self, other)
      if reason and p[SEQ] < self[SEQ] then
        mark(other, reason, session, self[BY], '')
      elseif p[STATE] ~= RESERVED then
        alive[#alive + 1] = other
      end
    end
  end
  local over = #alive + 1 - self[MAX]
  if self[MAX] > 0 and over > 0 then
    if self[MODE] == 'deny' then
      verdict = 'full'
    elseif self[MODE] == 'evict' then
      for i = 1, over do
        mark(alive[i], 'evicted', session, self[BY], session)
      end
    end
  end
  if verdict == 'live' then
    self[STATE], changed[session] = SETTLING, true -- from here on it counts for those who settle beside it
  end
end
save()

local list = {verdict}
for _, other in ipairs(sorted) do
  local p = places[other]
  if p[REASON] ~= '' then
    for _, field in ipairs({KEY, REASON, ENDING, DETAIL}) do
      if field == KEY then
        list[#list + 1] = other
      end
      list[#list + 1] = p[field]
    end
  end
end
return answer(list)
