"""`ebbtide serve` in a process of its own, and a plain client."""

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.forked import Forked
from tests.patience import PATIENCE_S, until


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served(NamedTuple):
    url: str
    process: Forked

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def ask(
        self, path: str, body: object = None, method: str | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """GET, or POST of a body: of bytes as they are, else as JSON."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        told = {"content-type": "application/json", **(headers or {})} if sent is not None else headers or {}
        with closing(http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)) as connection:
            connection.request(method or ("GET" if sent is None else "POST"), path, sent, told)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def raw(self, sent: bytes) -> bytes:
        """All that comes back until the server ends the connection."""
        with closing(socket.create_connection(self.address, timeout=PATIENCE_S)) as held:
            said = b""
            with suppress(ConnectionResetError):
                held.sendall(sent)
                while part := held.recv(65536):
                    said += part
            return said


@contextmanager
def served(source: str, *options: str, ready: bool = True) -> Iterator[Served]:
    """A server on a free port; it must end at SIGTERM with exit code 0."""
    words = ("serve", "--from", source, "--port", "0", "--json", *options)
    process = Forked(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        found = Served(json.loads(line)["url"], process)
        if ready:
            until(lambda: found.ask("/readyz").status == 200)
        yield found
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.close()
        process.wait()
