"""A Valkey server on loopback, its data in a folder: a write is in its file before it is answered."""

import socket
from pathlib import Path

from state.store.server import valkey_binary


def command(folder: Path, port: int) -> list[str]:
    """What runs the server in `folder`."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    options = {
        **{"port": str(port), "bind": "127.0.0.1", "protected-mode": "yes", "daemonize": "no"},
        **{"dir": "store", "dbfilename": "store.rdb", "appendonly": "yes", "appendfsync": "everysec"},
    }
    return [valkey_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def answers(port: int, pid: int) -> bool:
    """Whether process `pid` answers there, its data loaded."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            reply = b""
            while b"\r\nprocess_id:" not in reply or not reply.endswith(b"\r\n"):
                piece = connection.recv(65536)
                if not piece:
                    return False
                reply += piece
    except OSError:
        return False
    return reply.startswith(b"+PONG") and f"\r\nprocess_id:{pid}\r\n".encode() in reply
