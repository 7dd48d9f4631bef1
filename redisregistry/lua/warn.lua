-- Tells a session of a login elsewhere, without a word to those who change its record
-- meanwhile: they find that it has changed, and look again.
--
-- KEYS[1] the record: state, length of the body, body, warnings
-- ARGV[1] the states of those who are told   ARGV[2] the warning   ARGV[3] how many stay
--
-- Answers whether it is told: not what has ended or moved.
local value = redis.call('GET', KEYS[1])
if not value or not string.find(ARGV[1], string.sub(value, 1, 1), 1, true) then
  return 0
end
local body = 5 + struct.unpack('>I4', value, 2)
local warnings, at = {}, body + 1
while at < #value do
  local size = struct.unpack('>I2', value, at)
  warnings[#warnings + 1] = string.sub(value, at, at + 1 + size)
  at = at + 2 + size
end
warnings[#warnings + 1] = struct.pack('>I2', #ARGV[2]) .. ARGV[2]
local first = math.max(1, #warnings - tonumber(ARGV[3]) + 1)
redis.call('SET', KEYS[1], string.sub(value, 1, body) .. table.concat(warnings, '', first), 'KEEPTTL')
return 1
