-- What the scripts of a user's index have in common.
--
-- KEYS[1] is a hash. The field '#nb' is the moment before which logins are refused,
-- '#seq' the last order of admission, '#lt' the time of the last login and '#l0', '#l1',
-- ... what else is known of it;
-- 'p' .. session is a place, 'v' .. session one of somebody who has to go: whoever is
-- alive has one of them. Times are in microseconds.

-- The fields of a place. Texts are '' if there is nothing to say.
local SEQ, STATE, KEY, MAX, MODE, FROM, REPLACES, CHOSEN, BY = 1, 2, 3, 4, 5, 6, 7, 8, 9
-- Those of one that has to go: why, who says so, and what is special about its ending.
local REASON, MARKER, ENDING, DETAIL = 10, 11, 12, 13

-- The states of a place: its login has reserved it, is about to live, or has lived.
local RESERVED, SETTLING, HELD = 'r', 's', 'h'

local places, sorted, changed, meta = {}, {}, {}, {}
local marked, markedBy = {}, {} -- those who have to go, not read yet; sessions by MARKER

-- unpack_ and pack_ leave out what there is nothing to say of at the end. Redis keeps a
-- hash as one row, in half the memory, while none of its values has more than 64 bytes.
local function unpack_(raw)
  local p = cmsgpack.unpack(raw)
  for i = #p + 1, DETAIL do
    p[i] = i == MAX and 0 or ''
  end
  return p
end

local function pack_(p)
  local n = DETAIL
  while p[n] == '' or p[n] == 0 do
    n = n - 1
  end
  return cmsgpack.pack({unpack(p, 1, n)})
end

local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local kind, session = string.sub(all[i], 1, 1), string.sub(all[i], 2)
  if kind == 'p' then
    places[session] = unpack_(all[i + 1])
    sorted[#sorted + 1] = session
  elseif kind == 'v' then
    marked[#marked + 1] = {session, all[i + 1]}
  else
    meta[all[i]] = all[i + 1]
  end
end

local function earlier(a, b) return places[a][SEQ] < places[b][SEQ] end
table.sort(sorted, earlier)

-- readMarked adds those who have to go. After a hundred logins at once there are many,
-- and few scripts need them.
local function readMarked()
  for _, m in ipairs(marked) do
    local session = m[1]
    local p = unpack_(m[2])
    places[session] = p
    sorted[#sorted + 1] = session
    markedBy[p[MARKER]] = markedBy[p[MARKER]] or {}
    table.insert(markedBy[p[MARKER]], session)
  end
  marked = {}
  table.sort(sorted, earlier)
end

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
  markedBy[marker] = markedBy[marker] or {}
  table.insert(markedBy[marker], session)
end

-- vacate drops a place. Those whom its login has marked may stay; but if it is marked
-- itself, whoever marked it counts on their places. It needs readMarked.
local function vacate(session)
  local gone = places[session]
  if not gone then
    return
  end
  places[session], changed[session] = nil, true
  for _, other in ipairs(markedBy[session] or {}) do
    local p = places[other]
    if p then
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
    local p = places[session]
    if not p then
      redis.call('HDEL', KEYS[1], 'p' .. session, 'v' .. session)
    elseif p[REASON] == '' then
      redis.call('HSET', KEYS[1], 'p' .. session, pack_(p))
      redis.call('HDEL', KEYS[1], 'v' .. session)
    else
      redis.call('HSET', KEYS[1], 'v' .. session, pack_(p))
      redis.call('HDEL', KEYS[1], 'p' .. session)
    end
  end
end

-- compact makes the hash one row again, which it is no more once it held a login in
-- progress: that has more to say than a row takes. See pack_.
local function compact()
  local row = redis.call('HGETALL', KEYS[1])
  if #row > 64 then
    return
  end
  for i = 2, #row, 2 do
    if #row[i] > 64 then
      return
    end
  end
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl > 0 then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], unpack(row))
    redis.call('PEXPIRE', KEYS[1], ttl)
  end
end

-- answer adds Redis's time, as everybody expects it.
local function answer(list)
  list[#list + 1] = time[1]
  list[#list + 1] = time[2]
  return list
end
