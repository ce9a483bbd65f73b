"""The embedding store in Redis, or anything that speaks its protocol.

A run's rows are two hashes, `ebbtide:{RUN}:users` and `:items`, id -> row (`state.store.records`), beside
`:version` and `:info`; in each hash is the mark of whoever publishes, at a field that is no text. Each has a
feed of changes (`versions`), a stream, `:users:feed` and `:items:feed`. `:fed` is the version up to which
feeds are whole, with what tells the move to it from others: it stays behind `:version` where an earlier
release of ours publishes, which writes none. `:told` changes with `:info`. Kept versions are in
`redis_versions`. Rows travel a hundred or so to a script
call, packed, because a command of its own for each costs the client ten times as much; the script compares
stamps where the data is, so that writers may race. A publication is one transaction: of one who is killed in
its midst the server takes nothing.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from state.errors import InputError
from state.store import kept, redis_refusals, redis_versions, versions
from state.store import redis_scripts as scripts
from state.store.contract import KINDS, Changes, EmbeddingStore, Gone, Kind, Pointer, Publication, RunInfo
from state.store.direct import Direct
from state.store.health import Flaw, flaws_of, policy_of
from state.store.kept import NEWEST, Facts, Kept
from state.store.records import Packed, Record, named, packed_rows, unpack, unpacked
from state.store.redis_calls import FEEDS, Call, Calls, Keys
from state.store.redis_refusals import ForbiddenError
from state.store.redis_versions import RedisVersions

T = TypeVar("T")

_MARK = b"\xff"
"""The field of the mark in either hash: no text, so no id."""
_NOTES_A_PAGE = 64
_CALLS_A_PIPELINE = 64
_ROWS_A_PAGE = 2048


RUN = "default"
"""Under which a run is published unless the URL says otherwise."""


class RedisStore(EmbeddingStore):
    """`redis://`, `rediss://` or `unix://`; `?run=NAME` tells runs apart that share a server."""

    def __init__(self, url: str) -> None:
        address, _, query = url.partition("?")
        scheme, _, rest = address.partition("://")
        options = dict(parse_qsl(query))
        run = options.pop("run", RUN)
        self._shown = f"{scheme}://{rest.rpartition('@')[2] if '@' not in query else '...'}"
        if not re.fullmatch(r"[\w.-]+(~\d+)?", run):
            raise InputError(
                f"{self._shown}: run={run!r} is no name; expected letters, digits, '.', '_' and '-'"
            )
        self._key = Keys(run)
        self._patience: dict[str, Any] = {"socket_connect_timeout": 5.0, "socket_timeout": 60.0}
        self._url = f"{address}?{urlencode(options)}" if options else address
        self._connect()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown!r}, run={self._key.run!r})"

    def _connect(self) -> None:
        try:
            self._redis = redis.Redis.from_url(self._url, **self._patience)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self._shown}: no such address; expected redis://HOST:PORT/DB, rediss://... or unix://PATH"
            ) from error
        self._direct = Direct(self._redis)
        self._calls = Calls(self._redis, self._key)
        self._page_script = self._redis.register_script(scripts.PAGE)
        self._position_script = self._redis.register_script(scripts.POSITION)
        self._changes_script = self._redis.register_script(scripts.CHANGES)
        self._info_script = self._redis.register_script(scripts.PUT_INFO)
        client = cast(redis_versions.Client, self._redis)
        self._versions = RedisVersions(client, self._key.kept, self._key("version"))

    def write(self, publication: Publication, mark: bytes | None = None, version: int = 0) -> bool:
        calls: list[Call] = []
        for kind, packed in publication.rows.items():
            calls += [*self._calls.removes(kind, publication.gone[kind]), *self._calls.merges(kind, packed)]
        to = publication.version
        calls.append(self._calls.advance(to) if mark is None else self._calls.intact(mark, version, to))
        reached = int(self._ask(lambda: self._calls.at_once(calls, transaction=True))[-1])
        if mark is not None and reached < 0:
            raise self.shared()
        return mark is None or reached == 1

    def advance(self, version: int) -> int:
        return int(self._ask(lambda: self._at_once([self._calls.advance(version)]))[0])

    def mark(self, mark: bytes) -> None:
        for kind in KINDS:
            self._ask(lambda key: self._redis.hset(key, mapping={_MARK: mark}), self._key(kind))

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        reached = int(self._ask(lambda: self._at_once([self._calls.intact(mark, version, then)]))[0])
        if reached < 0:
            raise self.shared()
        return reached == 1

    def pointer(self) -> Pointer:
        keys = [self._key(name) for name in ("version", "fed", "told", "served")]
        values = self._ask(lambda: self._direct.ask("MGET", *keys))
        version, moved, told, served = cast("list[bytes | None]", values)
        if served is not None:
            at = redis_versions.served_of(served)
            return Pointer(at, served, served, at)
        return Pointer(int(version or 0), moved or b"", told or b"")

    def version(self) -> int:
        return int(
            cast("bytes | None", self._ask(lambda: self._direct.ask("GET", self._key("version")))) or 0
        )

    def _keep(self, facts: Facts) -> int:
        version = self._ask(lambda: self._versions.keep(facts))
        if version == 0:
            raise InputError(f"{self}: nothing was published that could be kept")
        return version

    def kept(self) -> list[Kept]:
        return self._ask(lambda: self._versions.all())

    def rollback(self, version: int) -> None:
        self._ask(lambda: self._versions.rollback(version))

    def resume(self) -> None:
        self._ask(lambda: self._versions.resume())

    def forget_kept(self) -> None:
        self._ask(lambda: self._versions.forget())

    def put_info(self, info: RunInfo) -> None:
        keys = [self._key("info"), self._key("told"), *self._key.kept]
        args: list[int | bytes] = [msgspec.json.encode(info), versions.new_token(), kept.MOST_BYTES]
        self._ask(lambda: self._info_script(keys=keys, args=args))

    def info(self, at: int = NEWEST) -> RunInfo | None:
        key = self._key("info")
        if at == NEWEST:
            value = self._ask(lambda: self._redis.get(key))
        else:
            value = self._ask(lambda: self._versions.row(at, key, b""))
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=RunInfo)
        except msgspec.MsgspecError as error:
            raise InputError(
                f"{self}: what it says of the run cannot be read ({error}); replay again"
            ) from error

    def put_status(self, status: bytes) -> None:
        self._ask(lambda: self._redis.set(self._key("status"), status))

    def status(self) -> bytes | None:
        return cast("bytes | None", self._ask(lambda: self._redis.get(self._key("status"))))

    def put_request(self, request: bytes | None) -> None:
        key = self._key("request")
        self._ask(lambda: self._redis.unlink(key) if request is None else self._redis.set(key, request))

    def request(self) -> bytes | None:
        return cast("bytes | None", self._ask(lambda: self._redis.get(self._key("request"))))

    def flaws(self) -> list[Flaw]:
        try:
            info: dict[str, Any] = self._ask(lambda: self._redis.info())
        except ForbiddenError:
            return []
        return flaws_of(info, self._shown)

    def policy(self) -> str | None:
        """What becomes of keys when the server is full: KEEPS_ALL, or how it evicts; None if it won't say."""
        try:
            return policy_of(self._ask(lambda: self._redis.info()))
        except ForbiddenError:
            return None

    def probe(self) -> float:
        """Write a key of our own and remove it; how many ms the server's clock is ahead of ours."""
        key = self._key(f"probe-{uuid.uuid4().hex}")
        self._ask(lambda: self._redis.set(key, b"", px=10_000))
        self._ask(lambda: self._redis.unlink(key))
        before_s = time.time()
        second, microsecond = self._ask(lambda: self._redis.time())
        return 1000 * (second + microsecond / 1e6 - (before_s + time.time()) / 2)

    def counts(self) -> dict[Kind, int]:
        return {kind: self._ask(self._count, self._key(kind)) for kind in KINDS}

    def _count(self, key: str) -> int:
        return int(self._direct.ask("HLEN", key)) - int(self._direct.ask("HEXISTS", key, _MARK))

    def some(self, kind: Kind, count: int) -> list[str]:
        fields = self._ask(lambda: self._redis.hrandfield(self._key(kind), count + 1))
        return named([one for one in cast("list[bytes]", fields) if one != _MARK])[:count]

    def clear(self) -> None:
        names = ("version", "fed", "info", "told", "status", "request", *KINDS, *FEEDS)
        self.forget_kept()
        self._ask(lambda: self._redis.unlink(*(self._key(name) for name in names)))

    def close(self) -> None:
        self._redis.close()

    def put(self, kind: Kind, packed: Packed) -> int:
        return self._done(self._calls.merges(kind, packed))

    def remove(self, kind: Kind, gone: Gone) -> int:
        return self._done(self._calls.removes(kind, gone))

    def _done(self, calls: Iterator[Call]) -> int:
        """Some calls at a time; the sum of what they answer."""
        total = 0
        while some := list(islice(calls, _CALLS_A_PIPELINE)):
            total += sum(map(int, self._ask(self._at_once, some)))
        return total

    def _at_once(self, calls: list[Call]) -> list[Any]:
        return self._calls.at_once(calls)

    def _get(self, kind: Kind, identifier: str, at: int = NEWEST) -> bytes | None:
        name, key = identifier.encode("utf-8", "surrogatepass"), self._key(kind)
        if at == NEWEST:
            return cast("bytes | None", self._ask(lambda: self._direct.ask("HGET", key, name)))
        return cast("bytes | None", self._ask(lambda: self._versions.row(at, key, name)))

    def served(self, kind: Kind, identifier: str) -> Record | None:
        name = identifier.encode("utf-8", "surrogatepass")
        value = self._ask(self._served_row, self._key(kind), name)
        return None if value is None else unpack(value)

    def _served_row(self, head: str, name: bytes) -> bytes | None:
        script, keys = self._versions.served, self._versions.served_keys(head)
        try:
            return cast("bytes | None", self._direct.ask("EVALSHA", script.sha, len(keys), *keys, name))
        except redis.exceptions.NoScriptError:  # by a script object, which loads it
            return cast("bytes | None", script(keys=keys, args=[name]))

    def position(self, kind: Kind) -> bytes:
        keys = [*self._key.fed(kind)[1:], self._key("version"), self._key("fed")]
        return self._ask(lambda: bytes(self._position_script(keys=keys)))

    def changes(self, kind: Kind, since: bytes) -> Changes | None:
        if since == versions.NOWHERE:
            return None
        rows: dict[bytes, bytes] = {}
        while True:
            page = self._ask(self._changes_page, kind, since)
            if page is None:
                return None
            since = page.position
            rows |= {identifier: page.rows.row(b) for b, identifier in enumerate(page.rows.ids)}
            if page.notes <= _NOTES_A_PAGE:
                break
        gone = [identifier for identifier, row in rows.items() if not row]
        there = packed_rows({identifier: row for identifier, row in rows.items() if row})
        return Changes(since, there, named(gone), page.as_of)

    def _changes_page(self, kind: Kind, since: bytes) -> "_Page | None":
        keys = [*self._key.fed(kind), self._key("version"), self._key("fed")]
        reply = self._changes_script(keys=keys, args=[*since.split(b" ", 1), _NOTES_A_PAGE])
        if reply is None:
            return None
        note, token, notes, version, moved, *page = reply
        return _Page(note + b" " + token, notes, (int(version), moved), unpacked(*page))

    def pages(self, kind: Kind, at: int = NEWEST) -> Iterator[Packed]:
        if at != NEWEST:
            replies = self._versions.pages(at, self._key(kind), _ROWS_A_PAGE)
            while raw := self._ask(next, replies, None):
                yield unpacked(*raw)
            if raw is None:  # it had failed, and cannot be asked again
                raise self.in_one_line(redis.ConnectionError(f"was away while version {at} was read"))
            return
        cursor: bytes | None = b"0"
        while cursor is not None:
            cursor, page = self._ask(self._page, self._key(kind), cursor)
            yield page

    def _page(self, key: str, cursor: bytes) -> tuple[bytes | None, Packed]:
        following, lengths, ids, rows = self._page_script(keys=[key], args=[cursor, _ROWS_A_PAGE])
        return (None if following == b"0" else following), unpacked(lengths, ids, rows)

    def hurry(self, seconds: float) -> None:
        """Fail after so long, and try nothing twice: for who tries again by itself."""
        once = Retry(NoBackoff(), 0)
        self._patience = {"socket_connect_timeout": seconds, "socket_timeout": seconds, "retry": once}
        self._redis.close()
        self._connect()

    def address(self) -> str:
        """A URL under which the server answers, for other clients."""
        return self._url

    def key_of(self, name: str) -> bytes:
        """The hash of a kind, or the list of kept versions, for other clients."""
        return self._key(name).encode()

    def _ask(self, ask: Callable[..., T], *arguments: object) -> T:
        """Every word with the server goes through here, so that every failure has one line."""
        try:
            return ask(*arguments)
        except redis.RedisError as error:
            raise self.in_one_line(error) from error

    def in_one_line(self, error: redis.RedisError | OSError) -> InputError:
        """What a client's failure means, and what to do."""
        return redis_refusals.in_one_line(error, self._shown)


class _Page(NamedTuple):
    """Of changes."""

    position: bytes
    notes: int
    as_of: tuple[int, bytes]
    rows: Packed
