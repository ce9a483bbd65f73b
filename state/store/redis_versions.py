"""Kept versions in a Redis server (`state.store.kept`), each step a script.

`:kept` is the list of them, the oldest first; `:kept:facts` a hash, version -> facts as JSON, and
`VERSION:bytes`; `:served` the version that readers are served, with what tells one rollback from another, if
it is not the newest. Images of version V are the hashes `:users:before:V` and `:items:before:V`, id -> row,
or nothing for a row that was not there yet, and `:info:before:V` with one field.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from state.errors import InputError
from state.store import kept
from state.store.kept import Facts, Kept
from state.store.versions import new_token

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
PAGE = """
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
local ids, rows, lengths = {}, {}, {}
for i = 1, #page[2], 2 do
  local id, row = page[2][i], page[2][i + 1]
  local there = id ~= '\\255' and row ~= ''
  for j = 1, #over do there = there and redis.call('HEXISTS', over[j], id) == 0 end
  if there then
    ids[#ids + 1] = id
    rows[#rows + 1] = row
    lengths[#lengths + 1] = struct.pack('<I4I4', #id, #row)
  end
end
return {page[1], table.concat(lengths), table.concat(ids), table.concat(rows)}
"""
"""A page as of version ARGV[3]: of rows that have no image since, or of the images beside version ARGV[4],
that have none in between. So what changes while pages are read comes twice, and nothing is missed."""
GONE = "GONE version "
"""How a server's refusal begins where a version is not kept."""


class Client(Protocol):
    """What is taken of redis-py's."""

    def register_script(self, script: str) -> Callable[..., Any]: ...

    def lrange(self, name: str, start: int, end: int) -> Any: ...

    def hgetall(self, name: str) -> Any: ...

    def get(self, name: str) -> Any: ...

    def delete(self, *names: str) -> Any: ...


class RedisVersions:
    """Asks a client, which raises what it raises."""

    def __init__(self, client: Client, keys: list[str], head: str) -> None:
        """`keys`: the list, the facts, and which is served; `head`: of the newest version."""
        self._client, self.keys, self._head = client, keys, head
        self._keep, self._rollback, self._forget, self._row, self._page = map(
            client.register_script, (KEEP, ROLLBACK, FORGET, ROW, PAGE)
        )

        self.served: Any = client.register_script(SERVED)

    def keep(self, facts: Facts) -> int:
        """Which version it is; 0 where nothing was published. Raises InputError as `EmbeddingStore.keep`."""
        args = [msgspec.json.encode(facts), kept.KEPT]
        version = int(self._keep(keys=[*self.keys, self._head], args=args))
        if version < 0:
            raise kept.full(-version)
        return version

    def all(self) -> list[Kept]:
        listed, facts, served = self.keys
        said: dict[bytes, bytes] = self._client.hgetall(facts)
        at = served_of(self._client.get(served))
        return [
            Kept(
                int(version),
                msgspec.json.decode(said[version], type=Facts),
                int(said.get(version + b":bytes", 0)),
                int(version) == at,
            )
            for version in self._client.lrange(listed, 0, -1)
            if version in said
        ]

    def rollback(self, version: int) -> None:
        if not self._rollback(keys=self.keys, args=[version, new_token()]):
            raise kept.gone(version)

    def resume(self) -> None:
        self._client.delete(self.keys[2])

    def forget(self) -> None:
        self._forget(keys=self.keys)

    def row(self, version: int, head: str, identifier: bytes) -> Any:
        """Of the hash, or the text, that is `head` in the newest version."""
        return self._row(keys=[head, self.keys[0]], args=[version, identifier])

    def served_keys(self, head: str) -> list[str]:
        """What `served` is asked with, and the id: the row in the version that readers are pointed at."""
        return [head, self.keys[0], self.keys[2]]

    def pages(self, version: int, head: str, rows: int) -> Iterator[list[bytes]]:
        """Lengths, ids and rows of a page; a row may come twice."""
        yield from self._scanned(version, head, rows, "")
        for images in self._client.lrange(self.keys[0], 0, -1):
            if int(images) >= version:
                yield from self._scanned(version, head, rows, images)

    def _scanned(self, version: int, head: str, rows: int, images: str | bytes) -> Iterator[list[bytes]]:
        cursor = b"0"
        while True:
            cursor, *page = self._page(keys=[head, self.keys[0]], args=[cursor, rows, version, images])
            yield page
            if cursor == b"0":
                return


def served_of(value: bytes | None) -> int:
    """The version that is served, by what the server says."""
    return kept.NEWEST if value is None else int(value.split(b" ", 1)[0])


def refusal(said: str) -> InputError | None:
    """What a server's refusal means, if it is one of these scripts'."""
    return kept.gone(int(said.removeprefix(GONE))) if said.startswith(GONE) else None
