"""A store behind TLS, asked by a user who may do what is needed and no more."""

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import redis
import trustme

from state.errors import InputError
from state.store.contract import ItemRows
from state.store.pipelined import PipelinedReader
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer

RIGHT = "s3cret-word"
DOCUMENTED = Path(__file__).parents[3] / "docs/live.md"


@dataclass
class Guarded:
    port: int
    ca: Path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The bundled server is built without TLS: something in front of it speaks it, as stunnel would."""
    folder = tmp_path_factory.mktemp("guarded")
    server, authority = EmbeddedServer(folder), trustme.CA()
    path = server.ensure()
    rule = re.search(r"^ACL SETUSER .*$", DOCUMENTED.read_text(), re.MULTILINE)
    assert rule is not None
    with redis.Redis(unix_socket_path=path) as admin:
        admin.execute_command(*rule[0].replace("PASSWORD", RIGHT).split())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    front = threading.Thread(target=lambda: asyncio.run(_front(path, listening, context, over)))
    front.start()
    yield Guarded(listening.getsockname()[1], folder / "ca.pem")
    over.set()
    front.join()
    server.stop()


async def _front(path: str, listening: socket.socket, context: ssl.SSLContext, over: threading.Event) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(path)
        await asyncio.gather(carry(reader, back), carry(there, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, sock=listening, ssl=context):
        await asyncio.to_thread(over.wait)


def url(guarded: Guarded, *, host: str = "localhost", password: str = RIGHT, ca: bool = True) -> str:
    trusted = f"&ssl_ca_certs={guarded.ca}" if ca else ""
    return f"rediss://ebbtide:{password}@{host}:{guarded.port}/0?run=tls{trusted}"


def test_the_documented_user_can_do_all_that_a_run_does(guarded: Guarded) -> None:
    items = ItemRows(ids=["a"], event_time_ms_B=np.array([1]), vectors_BD=np.ones((1, 3), np.float32))
    with RedisStore(url(guarded)) as store:
        store.clear()
        store.publish(3, items=items)
        store.put_status(b"well")
        assert (store.items().ids, store.version(), store.status()) == (["a"], 3, b"well")
        assert store.counts() == {"users": 0, "items": 1}
        assert abs(store.probe()) < 60_000
        assert RIGHT not in repr(store)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"password": "other-word"}, "refuses the user or password"),
        ({"ca": False}, "CERTIFICATE_VERIFY_FAILED"),
        ({"host": "127.0.0.1"}, "CERTIFICATE_VERIFY_FAILED.*127.0.0.1"),
    ],
)
def test_what_does_not_match_is_refused_and_no_password_shown(
    guarded: Guarded, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        RedisStore(url(guarded, **changed)).version()  # type: ignore[arg-type]
    assert RIGHT not in str(refused.value)
    assert "other-word" not in str(refused.value)


def test_a_pipelined_reader_signs_in_and_encrypts_too(guarded: Guarded) -> None:
    rows = ItemRows(ids=["p"], event_time_ms_B=np.array([1]), vectors_BD=np.ones((1, 3), np.float32))

    async def asked(store: RedisStore) -> tuple[bytes | None, str]:
        reader = PipelinedReader(store)
        keeping = asyncio.create_task(reader.keep())
        while reader.trouble and "not connected yet" in str(reader.trouble):
            await asyncio.sleep(0.01)
        found = None if reader.trouble else await reader.row("items", "p")
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        return found, str(reader.trouble)

    with RedisStore(url(guarded)) as store:
        store.put_items(1, rows)
        row, _ = asyncio.run(asked(store))
        assert row is not None
    with RedisStore(url(guarded, password="wrong")) as store:
        assert "refuses the user or password" in asyncio.run(asked(store))[1]
