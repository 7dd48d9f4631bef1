-- Says that a session has a new key.
--
-- KEYS[1] the index of the user, see lua/user.lua
-- ARGV[1] session   ARGV[2] the old key   ARGV[3] the new key
local KEY = 3
for _, kind in ipairs({'p', 'v'}) do
  local raw = redis.call('HGET', KEYS[1], kind .. ARGV[1])
  if raw then
    local p = cmsgpack.unpack(raw)
    if p[KEY] == ARGV[2] then
      p[KEY] = ARGV[3]
      redis.call('HSET', KEYS[1], kind .. ARGV[1], cmsgpack.pack(p))
    end
  end
end
return 1
