"""A run that lies in one slot of a Redis Cluster: asked of the server that has the slot, wherever that is."""

from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from redis.crc import key_slot

from state.errors import InputError
from state.store.redis import RedisStore
from state.store.sharded import ShardedStore

T = TypeVar("T")
_MOST_SHARDS = 4096
_ELSEWHERE = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.AskError)


class SlotStore(RedisStore):
    """`redis://HOST:PORT[,HOST:PORT..]/0?run=NAME`: any servers of the cluster.

    Where the slot has moved, or its server is away, the cluster is asked anew who has it, once a question.
    """

    _given = ""

    def _connect(self) -> None:
        self._given = self._given or self._url
        self._url = self._where()
        super()._connect()

    def _where(self) -> str:
        """The URL of the server that has the run's slot. Raises InputError."""
        url, refusals = urlsplit(self._given), []
        credentials, _, hosts = url.netloc.rpartition("@")
        for host in hosts.split(","):
            try:
                with redis.Redis.from_url(_url(url, credentials, host), **self._patience) as asked:
                    ranges = cast("list[Any]", asked.execute_command("CLUSTER", "SLOTS"))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{self._shown}: no such address; expected redis://HOST:PORT[,HOST:PORT..]/0"
                ) from error
            except redis.ResponseError as error:
                raise InputError(
                    f"{self._shown}: expected a Redis Cluster, as ?shards= is for ({error})"
                ) from error
            except redis.RedisError as error:
                refusals.append(self.in_one_line(error))
                continue
            slot = key_slot(self.key_of("version"))
            for first, last, (there, port, *_), *_ in ranges:
                if first <= slot <= last:
                    there = there.decode() or host.rpartition(":")[0]
                    return _url(url, credentials, f"[{there}]:{port}" if ":" in there else f"{there}:{port}")
            refusals.append(InputError(f"{self._shown}: no server of the cluster has slot {slot}"))
        raise refusals[-1]

    def _ask(self, ask: Callable[..., T], *arguments: object) -> T:
        try:
            return ask(*arguments)
        except redis.RedisError as error:
            if not isinstance(error, _ELSEWHERE) and "MOVED" not in str(error):
                raise self.in_one_line(error) from error
        self._redis.close()
        self._connect()
        return super()._ask(ask, *arguments)


def _url(url: SplitResult, credentials: str, host: str) -> str:
    return urlunsplit(url._replace(netloc=f"{credentials}@{host}" if credentials else host))


def sharded(url: str) -> ShardedStore:
    """A run over many slots: `?shards=N`. Raises InputError."""
    address, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    run, count = options.pop("run", "default"), options.pop("shards", "")
    if not count.isdigit() or not 1 <= int(count) <= _MOST_SHARDS:
        raise InputError(
            f"shards={count}: expected how many parts users are spread over, 1 to {_MOST_SHARDS:,}"
        )
    of_shards = ({**options, "run": f"{run}~{shard}"} for shard in range(int(count)))
    return ShardedStore([SlotStore(f"{address}?{urlencode(of_shard)}") for of_shard in of_shards])
