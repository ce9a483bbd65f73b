"""Over a connection that stays everybody gets their own answer, whatever becomes of it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from state.store.direct import Direct
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from tests.contracts.test_every_store import items
from tests.contracts.test_every_store import server as server
from tests.patience import until
from tests.valkeys import free_port, serving

FORKED = """
import os, sys
import redis
from state.store.direct import Direct
direct = Direct(redis.Redis(unix_socket_path=sys.argv[1]))
assert direct.ask("ECHO", "before") == b"before"
child = os.fork()
name = b"parent" if child else b"child"
wrong = sum(direct.ask("ECHO", name) != name for _ in range(300))
if not child:
    os._exit(wrong > 0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or wrong)
"""


def test_an_answer_that_nobody_waited_for_is_not_the_next_ones(server: EmbeddedServer) -> None:
    """Who asks is interrupted once the server keeps them waiting, and not before they have asked."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with RedisStore(f"unix://{server.ensure()}") as store:
        direct = Direct(store._redis)

        def interrupt() -> None:
            until(lambda: store._redis.info("clients")["blocked_clients"])
            os.kill(os.getpid(), signal.SIGUSR1)

        assert direct.ask("ECHO", "first") == b"first"
        before = signal.signal(signal.SIGUSR1, stop)
        stopping = threading.Thread(target=interrupt)
        stopping.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                direct.ask("BLPOP", "nothing", 600)
        finally:
            stopping.join()
            signal.signal(signal.SIGUSR1, before)
        assert direct.ask("ECHO", "mine") == b"mine"


def test_two_processes_do_not_share_one(server: EmbeddedServer) -> None:
    words = [sys.executable, "-c", FORKED, server.ensure()]
    assert subprocess.run(words, cwd=Path(__file__).parents[3]).returncode == 0


def test_a_server_that_was_started_again_is_asked_again(tmp_path: Path) -> None:
    port = free_port()
    with RedisStore(f"redis://127.0.0.1:{port}/0") as store:
        for number in (1, 2):
            process = serving(tmp_path, port)
            store.put_items(number, items(("tea", number, float(number))))
            record = store.served("items", "tea")
            assert record is not None
            assert record.vectors_KD[0, 0] == number
            process.kill()
            process.wait()
