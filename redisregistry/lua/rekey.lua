-- Says that a session has a new key.
--
-- ARGV[1] session   ARGV[2] the old key   ARGV[3] the new key
local p = places[ARGV[1]]
if p and p[KEY] == ARGV[2] then
  p[KEY], changed[ARGV[1]] = ARGV[3], true
  save()
end
return 1
