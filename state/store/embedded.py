"""The default store: a server of our own in the run's folder, behind the same code as Redis."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from state.errors import InputError
from state.store.cluster import sharded
from state.store.contract import EmbeddingStore
from state.store.redis import RUN, RedisStore
from state.store.redis_refusals import UnreachableError
from state.store.server import DATA, EmbeddedServer

T = TypeVar("T")

FOLDER = "store"
"""Where a run's folder keeps its store."""


class EmbeddedStore(RedisStore):
    """Vectors saved in `folder`, by a server that is started when needed and stopped by `close`.

    Several processes may use one folder at a time: the first starts the server, and when it stops it, the
    next word of another starts it again from what was saved.
    """

    def __init__(self, folder: Path | str) -> None:
        self._server = EmbeddedServer(Path(folder))
        super().__init__(_url(self._server.ensure()))
        self._shown = str(folder)

    def address(self) -> str:
        return _url(self._server.ensure())

    def close(self) -> None:
        super().close()
        self._server.stop()

    def _ask(self, ask: Callable[..., T], *arguments: object) -> T:
        try:
            return super()._ask(ask, *arguments)
        except UnreachableError:
            self._redis.close()
            self._url = _url(self._server.ensure())
            self._connect()
            return super()._ask(ask, *arguments)


def open_store(target: str | Path, *, create: bool = False) -> EmbeddingStore:
    """The store that `target` names: a Redis URL (of a cluster with `shards=N`), `embedded:DIR`, or a folder.

    Raises InputError where a folder has no store, unless it is to be created.
    """
    text = str(target)
    if text.startswith(("redis://", "rediss://", "unix://")):
        return sharded(text) if "shards=" in text.partition("?")[2] else RedisStore(text)
    if "://" in text:
        raise InputError(
            f"{text.partition('://')[0]}://...: no store of this kind; "
            "expected redis://, rediss://, unix:// or a folder"
        )
    folder = Path(text.removeprefix("embedded:"))
    if not text.startswith("embedded:") and folder.name != FOLDER:
        folder = folder / FOLDER
    if not create and not (folder / DATA).exists() and not (folder / "lock").exists():
        raise InputError(
            f"{text}: no embeddings there; name a folder that `ebbtide replay LOG --out DIR` has written, "
            "or a redis:// URL"
        )
    return EmbeddedStore(folder)


def variant_of(target: str, name: str) -> str:
    """Where a variant of what `target` holds is published: beside it, under a name of its own.

    >>> variant_of("redis://HOST/0?run=ml", "b"), variant_of("runs/live", "b")
    ('redis://HOST/0?run=ml.b', 'runs/live/variants/b')
    """
    if "://" not in target:
        return f"{target.rstrip('/')}/variants/{name}"
    address, _, query = target.partition("?")
    options = dict(parse_qsl(query))
    options["run"] = f"{options.get('run', RUN)}.{name}"
    return f"{address}?{urlencode(options)}"


def _url(address: str) -> str:
    return "unix://" + quote(address)
