-- Says that a login lives, and that its victims are dead.
--
-- ARGV[1] session   ARGV[2] when it began   ARGV[3] what the next login is told of it
-- ARGV[4...] sessions that are dead
--
-- Answers: the others, as session and key.
readMarked()
for i = 4, #ARGV do
  vacate(ARGV[i])
end
local session = ARGV[1]
local self = places[session]
if self then
  self[STATE], changed[session] = HELD, true
  self[MAX], self[MODE], self[REPLACES], self[CHOSEN], self[BY] = 0, '', '', '', ''
  if not meta['#lt'] or tonumber(ARGV[2]) > tonumber(meta['#lt']) then
    redis.call('HSET', KEYS[1], '#lt', ARGV[2])
    local n = 0
    for from = 1, #ARGV[3], 64 do -- in pieces that let the hash stay one row
      redis.call('HSET', KEYS[1], '#l' .. n, string.sub(ARGV[3], from, from + 63))
      n = n + 1
    end
    while redis.call('HDEL', KEYS[1], '#l' .. n) == 1 do
      n = n + 1
    end
  end
end
save()
compact()
local list = {}
for _, other in ipairs(sorted) do
  if other ~= session and places[other] then
    list[#list + 1] = other
    list[#list + 1] = places[other][KEY]
  end
end
return answer(list)
