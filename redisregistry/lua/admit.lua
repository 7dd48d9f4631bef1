-- Asks for a place and reserves it, or refuses. The record is reserved already.
--
-- ARGV[1] session      ARGV[2] store key    ARGV[3] when the user proved who he is
-- ARGV[4] largest number of sessions        ARGV[5] beyond it: 'warn', 'deny', 'evict'
-- ARGV[6] the token it came with            ARGV[7] the session it replaces
-- ARGV[8] the session its user chose        ARGV[9] the ending of those who have to go
-- ARGV[10] time to live in ms
-- ARGV[11...] sessions that are known to be dead
--
-- Answers: why not, or ''; who stays, as session and key.
if #ARGV > 10 then
  readMarked()
end
for i = 11, #ARGV do
  vacate(ARGV[i])
end

local session = ARGV[1]
local self = {0, RESERVED, ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], '', '', '', ''}

if meta['#nb'] and tonumber(ARGV[3]) < tonumber(meta['#nb']) then
  save()
  return answer({'revoked'})
end

local staying, leaving = {}, {}
for _, other in ipairs(sorted) do
  local p = places[other]
  if p and p[REASON] == '' then -- else it makes room for another login already
    local reason = names(self, other)
    if reason then
      leaving[#leaving + 1] = {other, reason}
    else
      staying[#staying + 1] = other
    end
  end
end

local over = #staying + 1 - self[MAX]
local verdict, list = '', {}
if self[MAX] > 0 and over > 0 then
  if self[MODE] == 'deny' then
    verdict = 'limit'
  elseif self[MODE] == 'evict' then
    for _ = 1, over do
      leaving[#leaving + 1] = {table.remove(staying, 1), 'evicted'}
    end
  end
end
if verdict == '' then
  self[SEQ] = redis.call('HINCRBY', KEYS[1], '#seq', 1)
  places[session], changed[session] = self, true
  for _, victim in ipairs(leaving) do
    mark(victim[1], victim[2], session, self[BY], '')
  end
  save()
  keep(ARGV[10])
else
  save()
end

list[1] = verdict
for _, other in ipairs(staying) do
  list[#list + 1] = other
  list[#list + 1] = places[other][KEY]
end
return answer(list)
