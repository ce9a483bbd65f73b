"""What a Redis server does for the store (`state.store.redis`), each script in one step.

A note of a feed is (t) its token, (n) the lengths of its ids, (i) the ids. What `fed` holds begins with the
version up to which feeds are whole.

Scripts that write have in KEYS, after the hash and its feed, what is said of kept versions
(`redis_versions`): the list of them, their facts, and which is served; ARGV[3] is how many bytes images may
take.
"""

from state.store.redis_kept_scripts import PAGED, SAVE

_NOTE = """
local function note(lengths, ids)
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], '*', 't', ARGV[1], 'n', lengths, 'i', ids)
end
"""
MERGE = (
    _NOTE
    + SAVE
    + """
local n = #ARGV[4] / 8
local length = {struct.unpack('<' .. string.rep('I4', 2 * n), ARGV[4])}
local ids, rows, id_at, row_at = {}, {}, 1, 1
for i = 1, n do
  ids[i] = string.sub(ARGV[5], id_at, id_at + length[i] - 1)
  rows[i] = string.sub(ARGV[6], row_at, row_at + length[n + i] - 1)
  id_at, row_at = id_at + length[i], row_at + length[n + i]
end
local held, newest, fresh = redis.call('HMGET', KEYS[1], unpack(ids)), {}, {}
for i = 1, n do
  local id, row = ids[i], rows[i]
  local old = newest[id] or held[i]
  local take = not old
  if old then
    local version, time = struct.unpack('<i8i8', row)
    local old_version, old_time = struct.unpack('<i8i8', old)
    take = version > old_version or (version == old_version and time >= old_time)
  end
  if take then
    if row ~= old and not newest[id] then save(id, old) end
    newest[id] = row
    fresh[#fresh + 1] = id
    fresh[#fresh + 1] = row
  end
end
if #fresh > 0 then
  if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
  redis.call('HSET', KEYS[1], unpack(fresh))
  note(string.sub(ARGV[4], 1, 4 * n), ARGV[5])
end
saved(tonumber(ARGV[3]))
return #fresh / 2
"""
)
REMOVE = (
    _NOTE
    + SAVE
    + """
local held, old, lengths = redis.call('HMGET', KEYS[1], unpack(ARGV, 5)), {}, {}
for i = 1, #ARGV - 4 do
  if held[i] then
    local version, time = struct.unpack('<i8i8', held[i])
    if time < tonumber(ARGV[4]) then
      old[#old + 1] = ARGV[i + 4]
      lengths[#lengths + 1] = struct.pack('<I4', #ARGV[i + 4])
      save(ARGV[i + 4], held[i])
    end
  end
end
saved(tonumber(ARGV[3]))
if #old == 0 then return 0 end
note(table.concat(lengths), table.concat(old))
return redis.call('HDEL', KEYS[1], unpack(old))
"""
)
PUT_INFO = (
    SAVE
    + """
save('', redis.call('GET', KEYS[1]))
saved(tonumber(ARGV[3]))
return redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], ARGV[2])
"""
)
_WHOLE = """
local function whole(version, fed)
  local held, whole_to = redis.call('GET', version) or '0', redis.call('GET', fed) or '0'
  return held == string.match(whole_to, '^%d+')
end
"""
_MOVE = (
    _WHOLE
    + """
local function move(version, fed, feeds, to, token)
  if not whole(version, fed) then redis.call('DEL', unpack(feeds)) end
  redis.call('MSET', version, to, fed, to .. ' ' .. token)
end
"""
)
ADVANCE = (
    _MOVE
    + """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) <= held then return held end
move(KEYS[1], KEYS[2], {KEYS[3], KEYS[4]}, ARGV[1], ARGV[2])
return tonumber(ARGV[1])
"""
)
INTACT = (
    _MOVE
    + """
local whole = 1
for i = 1, 2 do
  local mark = redis.call('HGET', KEYS[i], '\\255')
  if mark and mark ~= ARGV[1] then return -1 end
  if not mark then whole = 0 end
end
local held = tonumber(redis.call('GET', KEYS[3]) or '0')
if whole == 0 or held < tonumber(ARGV[2]) then return 0 end
if tonumber(ARGV[3]) > held then move(KEYS[3], KEYS[4], {KEYS[5], KEYS[6]}, ARGV[3], ARGV[4]) end
return 1
"""
)
POSITION = (
    _WHOLE
    + """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not newest or not whole(KEYS[2], KEYS[3]) then return '' end
return newest[1] .. ' ' .. newest[2][2]
"""
)
CHANGES = (
    _WHOLE
    + """
local known = redis.call('EXISTS', KEYS[1]) == 1 and whole(KEYS[3], KEYS[4])
local notes = redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[3] + 1)
if not known or not notes[1] or notes[1][1] ~= ARGV[1] or notes[1][2][2] ~= ARGV[2] then return false end
local met, lengths, ids, rows = {}, {}, {}, {}
for i = 2, #notes do
  local n, asked, at = #notes[i][2][4] / 4, {}, 1
  local length = {struct.unpack('<' .. string.rep('I4', n), notes[i][2][4])}
  for j = 1, n do
    local id = string.sub(notes[i][2][6], at, at + length[j] - 1)
    at = at + length[j]
    if not met[id] then
      met[id] = true
      asked[#asked + 1] = id
    end
  end
  if #asked > 0 then
    local held = redis.call('HMGET', KEYS[1], unpack(asked))
    for j = 1, #asked do
      ids[#ids + 1] = asked[j]
      rows[#rows + 1] = held[j] or ''
      lengths[#lengths + 1] = struct.pack('<I4I4', #asked[j], #rows[#rows])
    end
  end
end
local last = notes[#notes]
local now, fed = redis.call('GET', KEYS[3]) or '0', redis.call('GET', KEYS[4]) or ''
return {last[1], last[2][2], #notes, now, fed, table.concat(lengths), table.concat(ids), table.concat(rows)}
"""
)
PAGE = (
    PAGED
    + """
return paged(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]), function() return true end)
"""
)
