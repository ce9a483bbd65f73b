"""The embedding store in Redis, or anything that speaks its protocol.

A run's rows are two hashes, `ebbtide:{RUN}:users` and `:items`, id -> row (`state.store.records`), beside
`:version` and `:info`; in each hash is the mark of whoever publishes, at a field that is no text. Each has a
feed of changes (`versions`), a stream, `:users:feed` and `:items:feed`. `:fed` is the version up to which
feeds are whole, with what tells the move to it from others: it stays behind `:version` where an earlier
release of ours publishes, which writes none. `:told` changes with `:info`. The braces keep a run in one slot
of a cluster. Rows travel a hundred or so to a script call, packed, because a command of its own for each
costs the client ten times as much; the script compares stamps where the data is, so that writers may race.
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
from redis.backoff import NoBackoff
from redis.retry import Retry

from state.errors import InputError
from state.store import redis_scripts as scripts
from state.store import versions
from state.store.contract import KINDS, EmbeddingStore, Flaw, Gone, Kind, Pointer, RunInfo
from state.store.records import Packed, named, packed_rows
from state.store.versions import Changes

T = TypeVar("T")

_MARK = b"\xff"
"""The field of the mark in either hash: no text, so no id."""
_FEEDS = [f"{kind}:feed" for kind in KINDS]
KEEPS_ALL = "noeviction"
"""The one maxmemory-policy under which nothing that was published goes."""
_ROWS_A_CALL = versions.IDS_A_NOTE
_NOTES_A_PAGE = 64
_CALLS_A_PIPELINE = 64
_ROWS_A_PAGE = 2048


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
        self._patience: dict[str, Any] = {"socket_connect_timeout": 5.0, "socket_timeout": 60.0}
        self._url = f"{address}?{urlencode(options)}" if options else address
        self._connect()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown!r}, run={self._run!r})"

    def _connect(self) -> None:
        try:
            self._redis = redis.Redis.from_url(self._url, **self._patience)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self._shown}: no such address; expected redis://HOST:PORT/DB, rediss://... or unix://PATH"
            ) from error
        self._merge_script = self._redis.register_script(scripts.MERGE)
        self._remove_script = self._redis.register_script(scripts.REMOVE)
        self._advance_script = self._redis.register_script(scripts.ADVANCE)
        self._intact_script = self._redis.register_script(scripts.INTACT)
        self._page_script = self._redis.register_script(scripts.PAGE)
        self._position_script = self._redis.register_script(scripts.POSITION)
        self._changes_script = self._redis.register_script(scripts.CHANGES)

    def advance(self, version: int) -> int:
        keys = [self._key(name) for name in ("version", "fed", *_FEEDS)]
        args: list[int | bytes] = [version, versions.new_token()]
        return int(self._ask(lambda: self._advance_script(keys=keys, args=args)))

    def mark(self, mark: bytes) -> None:
        for kind in KINDS:
            self._ask(lambda key: self._redis.hset(key, mapping={_MARK: mark}), self._key(kind))

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        keys = [self._key(name) for name in (*KINDS, "version", "fed", *_FEEDS)]
        args: list[int | bytes] = [mark, version, then or 0, versions.new_token()]
        found = int(self._ask(lambda: self._intact_script(keys=keys, args=args)))
        if found < 0:
            raise self.shared()
        return found == 1

    def pointer(self) -> Pointer:
        keys = [self._key(name) for name in ("version", "fed", "told")]
        found = self._ask(lambda: self._redis.mget(keys))
        version, moved, told = cast("list[bytes | None]", found)
        return Pointer(int(version or 0), moved or b"", told or b"")

    def put_info(self, info: RunInfo) -> None:
        values = {self._key("info"): msgspec.json.encode(info), self._key("told"): versions.new_token()}
        self._ask(lambda: self._redis.mset(values))

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
        names = ("version", "fed", "info", "told", "status", *KINDS, *_FEEDS)
        self._ask(lambda: self._redis.unlink(*map(self._key, names)))

    def close(self) -> None:
        self._redis.close()

    def put(self, kind: Kind, packed: Packed) -> int:
        size, step = len(packed), _ROWS_A_CALL * _CALLS_A_PIPELINE
        return sum(
            self._ask(self._merge_some, self._fed(kind), packed, start, min(start + step, size))
            for start in range(0, size, step)
        )

    def _merge_some(self, keys: list[str], packed: Packed, start: int, stop: int) -> int:
        pipeline = self._redis.pipeline(transaction=False)
        for first in range(start, stop, _ROWS_A_CALL):
            last = min(first + _ROWS_A_CALL, stop)
            ids = packed.ids[first:last]
            at = packed.start_B1[first : last + 1]
            lengths = np.concatenate([np.fromiter(map(len, ids), "<u4", len(ids)), np.diff(at)]).astype("<u4")
            arguments: list[int | bytes] = [versions.new_token(), versions.FEED]
            arguments += [lengths.tobytes(), b"".join(ids), packed.blob[at[0] : at[-1]]]
            self._merge_script(keys=keys, args=arguments, client=pipeline)
        return sum(map(int, pipeline.execute()))

    def remove(self, kind: Kind, gone: Gone) -> int:
        ids = [identifier.encode("utf-8", "surrogatepass") for identifier in gone.ids]
        step = _ROWS_A_CALL * _CALLS_A_PIPELINE
        return sum(
            self._ask(self._remove_some, self._fed(kind), ids[start : start + step], gone.before_ms)
            for start in range(0, len(ids), step)
        )

    def _remove_some(self, keys: list[str], ids: list[bytes], before_ms: int) -> int:
        pipeline = self._redis.pipeline(transaction=False)
        for start in range(0, len(ids), _ROWS_A_CALL):
            arguments: list[int | bytes] = [versions.new_token(), versions.FEED, before_ms]
            arguments += ids[start : start + _ROWS_A_CALL]
            self._remove_script(keys=keys, args=arguments, client=pipeline)
        return sum(map(int, pipeline.execute()))

    def _get(self, kind: Kind, identifier: str) -> bytes | None:
        name = identifier.encode("utf-8", "surrogatepass")
        return cast("bytes | None", self._ask(lambda: self._redis.hget(self._key(kind), cast(Any, name))))

    def position(self, kind: Kind) -> bytes:
        keys = [*self._fed(kind)[1:], self._key("version"), self._key("fed")]
        return self._ask(lambda: bytes(self._position_script(keys=keys)))

    def changes(self, kind: Kind, since: bytes) -> Changes | None:
        if since == versions.NOWHERE:
            return None
        rows: dict[bytes, bytes] = {}
        while True:
            found = self._ask(self._changes_page, kind, since)
            if found is None:
                return None
            since, notes, page = found
            rows |= {identifier: page.row(b) for b, identifier in enumerate(page.ids)}
            if notes <= _NOTES_A_PAGE:
                break
        gone = [identifier for identifier, row in rows.items() if not row]
        there = packed_rows({identifier: row for identifier, row in rows.items() if row})
        return Changes(since, there, named(gone))

    def _changes_page(self, kind: Kind, since: bytes) -> tuple[bytes, int, Packed] | None:
        keys = [*self._fed(kind), self._key("version"), self._key("fed")]
        found = self._changes_script(keys=keys, args=[*since.split(b" ", 1), _NOTES_A_PAGE])
        if found is None:
            return None
        note, token, notes, *page = found
        return note + b" " + token, notes, _unpacked(*page)

    def pages(self, kind: Kind) -> Iterator[Packed]:
        cursor: bytes | None = b"0"
        while cursor is not None:
            cursor, page = self._ask(self._page, self._key(kind), cursor)
            yield page

    def _page(self, key: str, cursor: bytes) -> tuple[bytes | None, Packed]:
        following, lengths, ids, rows = self._page_script(keys=[key], args=[cursor, _ROWS_A_PAGE])
        return (None if following == b"0" else following), _unpacked(lengths, ids, rows)

    def _fed(self, kind: Kind) -> list[str]:
        """The hash of a kind, and its feed."""
        return [self._key(kind), self._key(f"{kind}:feed")]

    def hurry(self, seconds: float) -> None:
        """Fail after so long, and try nothing twice: for who tries again by itself."""
        once = Retry(NoBackoff(), 0)
        self._patience = {"socket_connect_timeout": seconds, "socket_timeout": seconds, "retry": once}
        self._redis.close()
        self._connect()

    def address(self) -> str:
        """A URL under which the server answers, for other clients."""
        return self._url

    def key_of(self, kind: Kind) -> bytes:
        """The hash of a kind, for other clients."""
        return self._key(kind).encode()

    def _key(self, name: str) -> str:
        return f"ebbtide:{{{self._run}}}:{name}"

    def _ask(self, ask: Callable[..., T], *arguments: object) -> T:
        """Every word with the server goes through here, so that every failure has one line."""
        try:
            return ask(*arguments)
        except redis.RedisError as error:
            raise self.in_one_line(error) from error

    def in_one_line(self, error: redis.RedisError | OSError) -> InputError:
        """What a client's failure means, and what to do."""
        said = _first_line(error)
        match error:
            case redis.AuthenticationError():
                return InputError(f"{self._shown}: refuses the user or password; check the URL ({error})")
            case redis.exceptions.NoPermissionError():
                return ForbiddenError(
                    f"{self._shown}: this user may not do that ({said}); see the page on operation"
                )
            case redis.BusyLoadingError():
                return InputError(
                    f"{self._shown}: is still reading its data from disk; it answers when that is done"
                )
            case redis.ConnectionError() | redis.TimeoutError() | OSError():
                return UnreachableError(
                    f"{self._shown}: cannot be reached ({said}); start Redis there, or one with "
                    "`ebbtide services up`; `ebbtide replay` without --store brings its own"
                )
        return InputError(f"{self._shown}: {said}; is this Redis writable and ours?")


def _unpacked(lengths: bytes, ids: bytes, rows: bytes) -> Packed:
    """Ids and rows that a script has put together, by their lengths in turn."""
    length_B2 = np.frombuffer(lengths, "<u4").reshape(-1, 2).astype(np.int64)
    id_end_B = np.cumsum(length_B2[:, 0]).tolist()
    names = [ids[start:end] for start, end in zip([0, *id_end_B], id_end_B, strict=False)]
    return Packed(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(length_B2[:, 1])]), rows)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
