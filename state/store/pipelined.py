"""Rows of a store for many questions at a time, over one connection that they share.

A question is written as it comes, and answers come back in the order of the questions: so none waits for
another's way there and back, and one costs a tenth of the CPU that redis-py's own client takes. That client
connects, signs in and encrypts; then its connection is taken over. For one event loop.
"""

import asyncio
from collections import deque
from typing import Any, cast

import hiredis
import redis.asyncio

from state.errors import EbbtideError
from state.store import redis_kept_scripts
from state.store.contract import EmbeddingStore, Kind
from state.store.kept import NEWEST
from state.store.redis import RedisStore
from state.store.redis_refusals import UnreachableError
from state.store.sharded import ShardedStore

MOST = 1024
"""Questions that wait for an answer."""
_CONNECT_S = 4.0
_LOOK_S = 0.25
_LOOKS = 8
"""So often is looked before a server that leaves somebody waiting is taken for gone. By looks and not by a
clock, which passes also while this process has no time to read what has been answered long ago."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class BusyError(EbbtideError):
    """More is asked at a time than can be answered."""

    exit_code = 2


class PipelinedReader:
    """Asks the server of `store`; `keep` connects, and connects again whenever the server was away."""

    def __init__(self, store: RedisStore, most: int = MOST) -> None:
        self._store, self._most = store, most
        self._pipe: _Pipe | None = None
        self.trouble: EbbtideError | None = UnreachableError(f"{store}: not connected yet")
        """Why nothing can be asked now."""

    def row(self, kind: Kind, identifier: str, at: int = NEWEST) -> "asyncio.Future[bytes | None]":
        """The row of a user or an item, or None if unknown; in the newest version or one that is kept.

        Raises BusyError where too many wait, UnreachableError where the server is away; so does the future.
        """
        if self._pipe is None:
            assert self.trouble is not None
            raise self.trouble
        if len(self._pipe.waiting) >= self._most:
            raise BusyError(f"{self._most} questions wait for the store; ask again in a moment")
        name = identifier.encode("utf-8", "surrogatepass")
        if at == NEWEST:
            return self._pipe.ask(_command(b"HGET", self._store.key_of(kind), name))
        keys = (self._store.key_of(kind), self._store.key_of("kept"))
        return self._pipe.ask(_command(b"EVAL", _ROW, b"2", *keys, b"%d" % at, name))

    async def keep(self) -> None:
        """Stay connected until cancelled."""
        pause_s = _PAUSE_S
        while True:
            try:
                self._pipe = await self._connected()
                self.trouble, pause_s = None, _PAUSE_S
                await self._pipe.ended()
                self.trouble = self._pipe.gone()
            except EbbtideError as error:
                self.trouble = error
            except (redis.RedisError, OSError) as error:
                self.trouble = self._store.in_one_line(error)
            finally:
                if self._pipe is not None:
                    self._pipe.abort()
                self._pipe = None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _connected(self) -> "_Pipe":
        url = await asyncio.to_thread(self._store.address)
        client: Any = redis.asyncio.Redis.from_url(url, protocol=2, socket_connect_timeout=_CONNECT_S / 2)
        connection = client.connection_pool.make_connection()
        await asyncio.wait_for(connection.connect(), _CONNECT_S)
        pipe = _Pipe(connection._writer, self._store)  # there is no public way to take it over
        connection._reader = connection._writer = None
        return pipe


class ShardedReader:
    """The same of a run over many slots: a connection a shard."""

    def __init__(self, store: ShardedStore) -> None:
        self._store = store
        self._readers = {id(shard): PipelinedReader(cast(RedisStore, shard)) for shard in store.shards}

    @property
    def trouble(self) -> EbbtideError | None:
        """Why some can not be asked for now."""
        return next((one.trouble for one in self._readers.values() if one.trouble is not None), None)

    def row(self, kind: Kind, identifier: str, at: int = NEWEST) -> "asyncio.Future[bytes | None]":
        """As `PipelinedReader.row`."""
        shard = self._store.shard_of(kind, identifier.encode("utf-8", "surrogatepass"))
        return self._readers[id(shard)].row(kind, identifier, at)

    async def keep(self) -> None:
        """Stay connected until cancelled."""
        await asyncio.gather(*(one.keep() for one in self._readers.values()))


def reader_of(store: EmbeddingStore) -> PipelinedReader | ShardedReader:
    """What reads a store's rows, which are on a server."""
    return (
        ShardedReader(store) if isinstance(store, ShardedStore) else PipelinedReader(cast(RedisStore, store))
    )


class _Pipe(asyncio.Protocol):
    def __init__(self, writer: asyncio.StreamWriter, store: RedisStore) -> None:
        self.waiting: deque[asyncio.Future[bytes | None]] = deque()
        self._writer, self._store = writer, store  # a writer that nobody holds ends its connection
        self._transport = cast(asyncio.Transport, writer.transport)
        self._transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(notEnoughData=_NOTHING)
        self._lost = self._answered = False

    def ask(self, command: bytes) -> "asyncio.Future[bytes | None]":
        future: asyncio.Future[bytes | None] = self._loop.create_future()
        if self._lost:
            future.set_exception(self.gone())
            return future
        self.waiting.append(future)
        self._transport.write(command)
        return future

    async def ended(self) -> None:
        """Until the connection is lost, or the server keeps somebody waiting."""
        looks = 0
        while not self._lost and looks < _LOOKS:
            self._answered = False
            await asyncio.sleep(_LOOK_S)
            looks = looks + 1 if self.waiting and not self._answered else 0

    def abort(self) -> None:
        self._lost = True
        self._transport.abort()
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_exception(self.gone())

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        while self.waiting and (reply := self._replies.gets()) is not _NOTHING:
            self._answered = True
            future = self.waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(self._store.in_one_line(redis.ResponseError(str(reply))))
            else:
                future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.abort()

    def gone(self) -> UnreachableError:
        return UnreachableError(f"{self._store}: has ended the connection, or does not answer")


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


_NOTHING: Any = object()
_ROW = redis_kept_scripts.ROW.encode()
