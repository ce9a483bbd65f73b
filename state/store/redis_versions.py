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
from state.store import redis_kept_scripts as scripts
from state.store.kept import Facts, Kept
from state.store.versions import new_token

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
            client.register_script,
            (scripts.KEEP, scripts.ROLLBACK, scripts.FORGET, scripts.ROW, scripts.PAGE),
        )

        self.served: Any = client.register_script(scripts.SERVED)

    def keep(self, facts: Facts) -> int:
        """Which version it is; 0 where nothing was published. Raises InputError as `EmbeddingStore.keep`."""
        args = [msgspec.json.encode(facts), kept.KEPT]
        version = int(self._keep(keys=[*self.keys, self._head], args=args))
        if version < 0:
            raise kept.full(-version)
        return version

    def all(self) -> list[Kept]:
        listed, facts, served = self.keys
        values: dict[bytes, bytes] = self._client.hgetall(facts)
        at = served_of(self._client.get(served))
        return [
            Kept(
                int(version),
                msgspec.json.decode(values[version], type=Facts),
                int(values.get(version + b":bytes", 0)),
                int(version) == at,
            )
            for version in self._client.lrange(listed, 0, -1)
            if version in values
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
        """Lengths, ids and rows of a page, and at the end nothing; a row may come twice."""
        yield from self._scanned(version, head, rows, "")
        for images in self._client.lrange(self.keys[0], 0, -1):
            if int(images) >= version:
                yield from self._scanned(version, head, rows, images)
        yield []

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


def refusal(message: str) -> InputError | None:
    """What a server's refusal means, if it is one of these scripts'."""
    return kept.gone(int(message.removeprefix(GONE))) if message.startswith(GONE) else None
