-- What Redis's Lua has and the stand-in's has not, as far as the scripts need it.
local cmsgpack, struct = {}, {}

function cmsgpack.pack(list)
  local parts = {}
  for i, v in ipairs(list) do
    local s = type(v) == 'number' and string.format('%.0f', v) or v
    parts[i] = (type(v) == 'number' and 'n' or 's') .. #s .. ':' .. s
  end
  return table.concat(parts)
end

function cmsgpack.unpack(s)
  local list, at = {}, 1
  while at <= #s do
    local colon = string.find(s, ':', at, true)
    local size = tonumber(string.sub(s, at + 1, colon - 1))
    local v = string.sub(s, colon + 1, colon + size)
    list[#list + 1] = string.sub(s, at, at) == 'n' and tonumber(v) or v
    at = colon + size + 1
  end
  return list
end

function struct.unpack(format, s, at)
  local n = 0
  for i = at, at + tonumber(string.sub(format, 3)) - 1 do
    n = n * 256 + string.byte(s, i)
  end
  return n
end

function struct.pack(format, n)
  local bytes = {}
  for i = tonumber(string.sub(format, 3)), 1, -1 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end
