"""What a Redis server does for kept versions (`state.store.redis_versions`), each script in one step."""

_DROP = """
local function drop(list, facts, version)
  local run = string.sub(list, 1, -5)
  redis.call('LREM', list, 1, version)
  redis.call('HDEL', facts, version, version .. ':bytes')
  for _, kind in ipairs({'users', 'items', 'info'}) do
    redis.call('UNLINK', run .. kind .. ':before:' .. version)
  end
end
local function is_served(served, version)
  return version == string.match(redis.call('GET', served) or '', '^%d+')
end
"""
SAVE = (
    _DROP
    + """
local mark, bytes = redis.call('LINDEX', KEYS[3], -1), 0
local function save(id, old)
  if mark and redis.call('HSETNX', KEYS[1] .. ':before:' .. mark, id, old or '') == 1 then
    bytes = bytes + #id + #(old or '')
  end
end
local function saved(most)
  if bytes == 0 then return end
  redis.call('HINCRBY', KEYS[4], mark .. ':bytes', bytes)
  local total, of = 0, {}
  for i, version in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
    of[i] = {version, tonumber(redis.call('HGET', KEYS[4], version .. ':bytes') or '0')}
    total = total + of[i][2]
  end
  for i = 1, #of do
    if total <= most or is_served(KEYS[5], of[i][1]) then return end
    drop(KEYS[3], KEYS[4], of[i][1])
    total = total - of[i][2]
  end
end
"""
)
"""Saves images in a script that changes rows: `save` each, before it changes, and `saved` once."""
KEEP = (
    _DROP
    + """
local version = redis.call('GET', KEYS[4]) or '0'
if version == '0' or redis.call('LINDEX', KEYS[1], -1) == version then return version end
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then
  local oldest = redis.call('LINDEX', KEYS[1], 0)
  if is_served(KEYS[3], oldest) then return '-' .. oldest end
  drop(KEYS[1], KEYS[2], oldest)
end
redis.call('RPUSH', KEYS[1], version)
redis.call('HSET', KEYS[2], version, ARGV[1])
return version
"""
)
ROLLBACK = """
for _, version in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if version == ARGV[1] then
    redis.call('SET', KEYS[3], version .. ' ' .. ARGV[2])
    return 1
  end
end
return 0
"""
FORGET = (
    _DROP
    + """
for _, version in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do drop(KEYS[1], KEYS[2], version) end
return redis.call('DEL', KEYS[3])
"""
)
_AS_OF = """
local function as_of(version, id)
  local on = false
  for _, kept in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    on = on or kept == version
    local row = on and redis.call('HGET', KEYS[1] .. ':before:' .. kept, id)
    if row then return row ~= '' and row end
  end
  if not on then return {err = 'GONE version ' .. version} end
  if redis.call('TYPE', KEYS[1]).ok == 'string' then return redis.call('GET', KEYS[1]) end
  return redis.call('HGET', KEYS[1], id)
end
"""
ROW = _AS_OF + "return as_of(ARGV[1], ARGV[2])"
"""The row of KEYS[1] as of a version, or what was said of the run."""
SERVED = (
    _AS_OF
    + """
local version = string.match(redis.call('GET', KEYS[3]) or '', '^%d+')
if version then return as_of(version, ARGV[1]) end
return redis.call('HGET', KEYS[1], ARGV[1])
"""
)
PAGED = """
local function paged(page, taken)
  local ids, rows, lengths = {}, {}, {}
  for i = 1, #page[2], 2 do
    local id, row = page[2][i], page[2][i + 1]
    if id ~= '\\255' and taken(id, row) then
      ids[#ids + 1] = id
      rows[#rows + 1] = row
      lengths[#lengths + 1] = struct.pack('<I4I4', #id, #row)
    end
  end
  return {page[1], table.concat(lengths), table.concat(ids), table.concat(rows)}
end
"""
"""What HSCAN has found, but for the mark, packed: where to go on, lengths, ids and rows."""
PAGE = (
    PAGED
    + """
local over, on, met = {}, false, ARGV[4] == ''
for _, kept in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  on = on or kept == ARGV[3]
  if kept == ARGV[4] then
    met = true
    break
  end
  if on then over[#over + 1] = KEYS[1] .. ':before:' .. kept end
end
if not (on and met) then return {err = 'GONE version ' .. ARGV[3]} end
local scanned = met and ARGV[4] ~= '' and KEYS[1] .. ':before:' .. ARGV[4] or KEYS[1]
local page = redis.call('HSCAN', scanned, ARGV[1], 'COUNT', ARGV[2])
return paged(page, function(id, row)
  if row == '' then return false end
  for j = 1, #over do
    if redis.call('HEXISTS', over[j], id) == 1 then return false end
  end
  return true
end)
"""
)
"""A page as of version ARGV[3]: of rows that have no image since, or of the images beside version ARGV[4],
that have none in between. So what changes while pages are read comes twice, and nothing is missed."""
