-- What the scripts of a user's index have in common.
--
-- KEYS[1] is a hash. The field '#nb' is the moment before which logins are refused,
-- '#seq' the last order of admission, '#last' the last login and '#lt' its time;
-- 'p' .. session is a place: whoever is alive has one. Times are in microseconds.

-- The fields of a place. Texts are '' if there is nothing to say.
local SEQ, STATE, KEY, MAX, MODE, FROM, REPLACES, CHOSEN, BY = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- Those of one that has to go: why, who says so, and what is special about its ending.
local REASON, MARKER, ENDING, DETAIL = 10, 11, 12, 13

-- The states of a place: its login has reserved it, is about to live, or has lived.
local RESERVED, SETTLING, HELD = 'r', 's', 'h'

local places, sorted, changed, meta = {}, {}, {}, {}

local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) == 'p' then
    local session = string.sub(all[i], 2)
    places[session] = cmsgpack.unpack(all[i + 1])
    sorted[#sorted + 1] = session
  else
    meta[all[i]] = all[i + 1]
  end
end
table.sort(sorted, function(a, b) return places[a][SEQ] < places[b][SEQ] end)

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function exact(n) return string.format('%.0f', n) end

-- keep gives the hash a time to live, and never a shorter one.
local function keep(ms)
  if redis.call('PTTL', KEYS[1]) < tonumber(ms) then
    redis.call('PEXPIRE', KEYS[1], ms)
  end
end

-- mark says that a session has to go.
local function mark(session, reason, marker, ending, detail)
  local p = places[session]
  p[REASON], p[MARKER], p[ENDING], p[DETAIL] = reason, marker, ending, detail
  changed[session] = true
end

-- vacate drops a place. Those whom its login has marked may stay; but if it is marked
-- itself, whoever marked it counts on their places.
local function vacate(session)
  local gone = places[session]
  if not gone then
    return
  end
  places[session], changed[session] = nil, true
  for other, p in pairs(places) do
    if p[MARKER] == session then
      if gone[REASON] ~= '' then
        mark(other, 'evicted', gone[MARKER], p[ENDING], gone[MARKER])
      else
        mark(other, '', '', '', '')
      end
    end
  end
end

-- names reports whether the login at p says that session has to go, and as what.
local function names(p, session)
  local q = places[session]
  if session == p[REPLACES] or (p[FROM] ~= '' and q[FROM] == p[FROM]) then
    return 'replaced'
  elseif session == p[CHOSEN] then
    return 'user'
  end
end

-- save writes what was changed.
local function save()
  for session in pairs(changed) do
    if places[session] then
      redis.call('HSET', KEYS[1], 'p' .. session, cmsgpack.pack(places[session]))
    else
      redis.call('HDEL', KEYS[1], 'p' .. session)
    end
  end
end

-- answer adds Redis's time, as everybody expects it.
local function answer(list)
  list[#list + 1] = time[1]
  list[#list + 1] = time[2]
  return list
end
