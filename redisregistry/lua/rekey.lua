-- Says that a session has a new key. It may live longer there than any login of its user
-- has said.
--
-- KEYS[1] the index of the user, see lua/user.lua
-- ARGV[1] session   ARGV[2] the old key   ARGV[3] the new key   ARGV[4] time to live in ms
local KEY = 3
for _, kind in ipairs({'p', 'v'}) do
  local raw = redis.call('HGET', KEYS[1], kind .. ARGV[1])
  if raw then
    if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
      redis.call('PEXPIRE', KEYS[1], ARGV[4])
    end
    local p = cmsgpack.unpack(raw)
    if p[KEY] == ARGV[2] then
      p[KEY] = ARGV[3]
      redis.call('HSET', KEYS[1], kind .. ARGV[1], cmsgpack.pack(p))
    end
  end
end
return 1
