-- Drops places of a user of whom nobody has to go, as is the case most of the time: then
-- none of his places says anything about another one, and none has to be read. See
-- user.lua, which follows, as release.lua does, which is for the others.
--
-- ARGV[1...] the sessions
local unmarked = true
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  unmarked = unmarked and string.sub(field, 1, 1) ~= 'v'
end
if unmarked then
  for _, session in ipairs(ARGV) do
    redis.call('HDEL', KEYS[1], 'p' .. session)
  end
  return 0
end
