"""The embedding store in Redis, or anything that speaks its protocol.

A run's rows are two hashes, `ebbtide:{RUN}:users` and `:items`, id -> row (`state.store.records`), beside
`:version` and `:info`; in each hash is the mark of whoever publishes, at a field that is no text. The braces
keep a run in one slot of a cluster. Rows travel a hundred or so to a script call, packed, because a command
of its own for each costs the client ten times as much; the script compares stamps where the data is, so that
writers may race.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
import numpy as np
import redis

from state.errors import InputError
from state.store.contract import KINDS, EmbeddingStore, Flaw, Gone, Kind, RunInfo
from state.store.records import Packed

T = TypeVar("T")

_MARK = b"\xff"
"""The field of the mark in either hash: no text, so no id."""
KEEPS_ALL = "noeviction"
"""The one maxmemory-policy under which nothing that was published goes."""
_ROWS_A_CALL = 128
_CALLS_A_PIPELINE = 64
_ROWS_A_PAGE = 2048

_MERGE = """
local n = #ARGV[1] / 8
local length = {struct.unpack('<' .. string.rep('I4', 2 * n), ARGV[1])}
local ids, rows, id_at, row_at = {}, {}, 1, 1
for i = 1, n do
  ids[i] = string.sub(ARGV[2], id_at, id_at + length[i] - 1)
  rows[i] = string.sub(ARGV[3], row_at, row_at + length[n + i] - 1)
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
    newest[id] = row
    fresh[#fresh + 1] = id
    fresh[#fresh + 1] = row
  end
end
if #fresh > 0 then redis.call('HSET', KEYS[1], unpack(fresh)) end
return #fresh / 2
"""
_REMOVE = """
local held, old = redis.call('HMGET', KEYS[1], unpack(ARGV, 2)), {}
for i = 1, #ARGV - 1 do
  if held[i] then
    local version, time = struct.unpack('<i8i8', held[i])
    if time < tonumber(ARGV[1]) then old[#old + 1] = ARGV[i + 1] end
  end
end
if #old > 0 then return redis.call('HDEL', KEYS[1], unpack(old)) end
return 0
"""
_ADVANCE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) <= held then return held end
redis.call('SET', KEYS[1], ARGV[1])
return tonumber(ARGV[1])
"""
_INTACT = """
local whole = 1
for i = 1, 2 do
  local mark = redis.call('HGET', KEYS[i], '\\255')
  if mark and mark ~= ARGV[1] then return -1 end
  if not mark then whole = 0 end
end
local held = tonumber(redis.call('GET', KEYS[3]) or '0')
if whole == 0 or held < tonumber(ARGV[2]) then return 0 end
if tonumber(ARGV[3]) > held then redis.call('SET', KEYS[3], ARGV[3]) end
return 1
"""
_PAGE = """
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local ids, rows, lengths = {}, {}, {}
for i = 1, #page[2], 2 do
  local id, row = page[2][i], page[2][i + 1]
  if id ~= '\\255' then
    ids[#ids + 1] = id
    rows[#rows + 1] = row
    lengths[#lengths + 1] = struct.pack('<I4I4', #id, #row)
  end
end
return {page[1], table.concat(lengths), table.concat(ids), table.concat(rows)}
"""


class UnreachableError(InputError):
    """No server answers there."""


class ForbiddenError(InputError):
    """The server does not let this user ask."""


class RedisStore(EmbeddingStore):
    """`redis://`, `rediss://` or `unix://`; `?run=NAME` tells runs apart that share a server."""

    def __init__(self, url: str) -> None:
        address, _, query = url.partition("?")
        scheme, _, rest = address.partition("://")
        options = dict(parse_qsl(query))
        run = options.pop("run", "default")
        self._shown = f"{scheme}://{rest.rpartition('@')[2] if '@' not in query else '...'}"
        if not re.fullmatch(r"[\w.-]+", run):
            raise InputError(
                f"{self._shown}: run={run!r} is no name; expected letters, digits, '.', '_' and '-'"
            )
        self._run = run
        self._url = f"{address}?{urlencode(options)}" if options else address
        self._connect()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown!r}, run={self._run!r})"

    def _connect(self) -> None:
        try:
            self._redis = redis.Redis.from_url(self._url, socket_connect_timeout=5.0, socket_timeout=60.0)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self._shown}: no such address; expected redis://HOST:PORT/DB, rediss://... or unix://PATH"
            ) from error
        self._merge_script = self._redis.register_script(_MERGE)
        self._remove_script = self._redis.register_script(_REMOVE)
        self._advance_script = self._redis.register_script(_ADVANCE)
        self._intact_script = self._redis.register_script(_INTACT)
        self._page_script = self._redis.register_script(_PAGE)

    def advance(self, version: int) -> int:
        return int(self._ask(lambda: self._advance_script(keys=[self._key("version")], args=[version])))

    def mark(self, mark: bytes) -> None:
        for kind in KINDS:
            self._ask(lambda key: self._redis.hset(key, mapping={_MARK: mark}), self._key(kind))

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        keys = [self._key(name) for name in (*KINDS, "version")]
        found = int(self._ask(lambda: self._intact_script(keys=keys, args=[mark, version, then or 0])))
        if found < 0:
            raise self.shared()
        return found == 1

    def version(self) -> int:
        return int(self._ask(lambda: self._redis.get(self._key("version"))) or 0)

    def put_info(self, info: RunInfo) -> None:
        self._ask(lambda: self._redis.set(self._key("info"), msgspec.json.encode(info)))

    def info(self) -> RunInfo | None:
        value = self._ask(lambda: self._redis.get(self._key("info")))
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=RunInfo)
        except msgspec.MsgspecError as error:
            raise InputError(
                f"{self}: what it says of the run cannot be read ({error}); replay again"
            ) from error

    def put_status(self, said: bytes) -> None:
        self._ask(lambda: self._redis.set(self._key("status"), said))

    def status(self) -> bytes | None:
        return cast("bytes | None", self._ask(lambda: self._redis.get(self._key("status"))))

    def flaws(self) -> list[Flaw]:
        try:
            said: dict[str, Any] = self._ask(self._redis.info)
        except ForbiddenError:
            return []
        found = []
        used, most, policy = said.get("used_memory", 0), said.get("maxmemory", 0), self._policy(said)
        if said.get("loading"):
            what = "is still reading its data from disk; it answers when that is done"
            found.append(Flaw(f"{self._shown}: {what}", closed=True))
        if said.get("role") == "slave":
            master = f"{said.get('master_host')}:{said.get('master_port')}"
            what = f"is a replica of {master}, which takes no writes; name that one, or REPLICAOF NO ONE here"
            found.append(Flaw(f"{self._shown}: {what}", closed=True))
        if most and used >= most and policy == KEEPS_ALL:
            what = f"is full ({used / 1e6:,.1f} MB used, maxmemory {most / 1e6:,.1f} MB); give it more"
            found.append(Flaw(f"{self._shown}: {what}", closed=True))
        if policy not in (KEEPS_ALL, None):
            what = (
                f"may evict what it holds, all users of a run at once (maxmemory-policy {policy}); "
                f"CONFIG SET maxmemory-policy {KEEPS_ALL}"
            )
            found.append(Flaw(f"{self._shown}: {what}", closed=False))
        return found

    def policy(self) -> str | None:
        """What becomes of keys when the server is full: KEEPS_ALL, or how it evicts; None if it won't say."""
        try:
            return self._policy(self._ask(self._redis.info))
        except ForbiddenError:
            return None

    @staticmethod
    def _policy(said: dict[str, Any]) -> str | None:
        policy = said.get("maxmemory_policy")
        return None if policy is None else str(policy)

    def probe(self) -> float:
        """Write a key of our own and remove it; how many ms the server's clock is ahead of ours."""
        key = self._key(f"probe-{uuid.uuid4().hex}")
        self._ask(lambda: self._redis.set(key, b"", px=10_000))
        self._ask(lambda: self._redis.unlink(key))
        before_s = time.time()
        second, microsecond = self._ask(lambda: self._redis.time())
        return 1000 * (second + microsecond / 1e6 - (before_s + time.time()) / 2)

    def counts(self) -> dict[Kind, int]:
        pipeline = self._redis.pipeline(transaction=False)
        for kind in KINDS:
            pipeline.hlen(self._key(kind))
            pipeline.hexists(self._key(kind), cast(Any, _MARK))
        users, user_mark, items, item_mark = map(int, self._ask(pipeline.execute))
        return {"users": users - user_mark, "items": items - item_mark}

    def clear(self) -> None:
        keys = [self._key(name) for name in ("version", "info", "status", "users", "items")]
        self._ask(lambda: self._redis.unlink(*keys))

    def close(self) -> None:
        self._redis.close()

    def put(self, kind: Kind, packed: Packed) -> int:
        size, step = len(packed), _ROWS_A_CALL * _CALLS_A_PIPELINE
        return sum(
            self._ask(self._merge_some, self._key(kind), packed, start, min(start + step, size))
            for start in range(0, size, step)
        )

    def _merge_some(self, key: str, packed: Packed, start: int, stop: int) -> int:
        pipeline = self._redis.pipeline(transaction=False)
        for first in range(start, stop, _ROWS_A_CALL):
            last = min(first + _ROWS_A_CALL, stop)
            ids = packed.ids[first:last]
            at = packed.start_B1[first : last + 1]
            lengths = np.concatenate([np.fromiter(map(len, ids), "<u4", len(ids)), np.diff(at)]).astype("<u4")
            arguments = [lengths.tobytes(), b"".join(ids), packed.blob[at[0] : at[-1]]]
            self._merge_script(keys=[key], args=arguments, client=pipeline)
        return sum(map(int, pipeline.execute()))

    def remove(self, kind: Kind, gone: Gone) -> int:
        ids = [identifier.encode("utf-8", "surrogatepass") for identifier in gone.ids]
        step = _ROWS_A_CALL * _CALLS_A_PIPELINE
        return sum(
            self._ask(self._remove_some, self._key(kind), ids[start : start + step], gone.before_ms)
            for start in range(0, len(ids), step)
        )

    def _remove_some(self, key: str, ids: list[bytes], before_ms: int) -> int:
        pipeline = self._redis.pipeline(transaction=False)
        for start in range(0, len(ids), _ROWS_A_CALL):
            arguments: list[int | bytes] = [before_ms, *ids[start : start + _ROWS_A_CALL]]
            self._remove_script(keys=[key], args=arguments, client=pipeline)
        return sum(map(int, pipeline.execute()))

    def _get(self, kind: Kind, identifier: str) -> bytes | None:
        name = identifier.encode("utf-8", "surrogatepass")
        return cast("bytes | None", self._ask(lambda: self._redis.hget(self._key(kind), cast(Any, name))))

    def pages(self, kind: Kind) -> Iterator[Packed]:
        cursor: bytes | None = b"0"
        while cursor is not None:
            cursor, page = self._ask(self._page, self._key(kind), cursor)
            yield page

    def _page(self, key: str, cursor: bytes) -> tuple[bytes | None, Packed]:
        following, lengths, ids, rows = self._page_script(keys=[key], args=[cursor, _ROWS_A_PAGE])
        length_B2 = np.frombuffer(lengths, "<u4").reshape(-1, 2).astype(np.int64)
        id_end_B = np.cumsum(length_B2[:, 0]).tolist()
        names = [ids[start:end] for start, end in zip([0, *id_end_B], id_end_B, strict=False)]
        start_B1 = np.concatenate([np.zeros(1, np.int64), np.cumsum(length_B2[:, 1])])
        return (None if following == b"0" else following), Packed(names, start_B1, rows)

    def _key(self, name: str) -> str:
        return f"ebbtide:{{{self._run}}}:{name}"

    def _ask(self, ask: Callable[..., T], *arguments: object) -> T:
        """Every word with the server goes through here, so that every failure has one line."""
        try:
            return ask(*arguments)
        except redis.AuthenticationError as error:
            raise InputError(
                f"{self._shown}: refuses the user or password; check the URL ({error})"
            ) from error
        except redis.exceptions.NoPermissionError as error:
            raise ForbiddenError(
                f"{self._shown}: this user may not do that ({_first_line(error)}); see the page on operation"
            ) from error
        except redis.BusyLoadingError as error:
            raise InputError(
                f"{self._shown}: is still reading its data from disk; it answers when that is done"
            ) from error
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise UnreachableError(
                f"{self._shown}: cannot be reached ({_first_line(error)}); start Redis there, or one with "
                "`ebbtide services up`; `ebbtide replay` without --store brings its own"
            ) from error
        except redis.RedisError as error:
            raise InputError(
                f"{self._shown}: {_first_line(error)}; is this Redis writable and ours?"
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
