"""A store with a server of its own: folders, sockets, owners and guests, and what a crash leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from state.errors import InputError
from state.store.embedded import EmbeddedStore, open_store
from state.store.server import DATA
from tests.contracts.test_every_store import items
from tests.patience import until
from tests.processes import lives


def test_a_run_folder_is_found_again(tmp_path: Path) -> None:
    with open_store(tmp_path / "run", create=True) as store:
        store.publish(3, items=items(("a", 1, 1.0)))
    assert not (tmp_path / "run" / "store" / "store.sock").exists()
    for target in (tmp_path / "run", f"embedded:{tmp_path}/run/store", tmp_path / "run" / "store"):
        with open_store(target) as store:
            assert (store.version(), store.items().ids) == (3, ["a"])


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    with open_store(deep, create=True) as store:
        store.advance(4)
        address = Path((deep / "store" / "socket").read_text())
        assert len(str(address)) < 100
        assert address.exists()
    assert not address.parent.exists()
    with open_store(deep) as store:
        assert store.version() == 4


def test_what_a_crash_leaves_behind_is_not_believed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with EmbeddedStore(folder) as store:
        store.advance(2)
    (folder / "store.sock").write_text("not a socket")
    (folder / "socket").write_text("/gone/store.sock")
    with EmbeddedStore(folder) as store:
        assert store.version() == 2


@pytest.mark.parametrize(
    "ask",
    [
        *(EmbeddedStore.version, EmbeddedStore.pointer, EmbeddedStore.counts, EmbeddedStore.info),
        *(EmbeddedStore.kept, EmbeddedStore.status, EmbeddedStore.policy, EmbeddedStore.flaws),
        lambda store: store.served("items", "a") is not None,
        lambda store: store.some("items", 1),
        lambda store: store.items().ids,
        lambda store: store.position("items") != b"",
        lambda store: store.advance(1),
        lambda store: store.put_items(1, items(("a", 1, 1.0))),
        lambda store: store.intact(b"mark", 1),
    ],
    ids=lambda ask: ask.__name__,
)
def test_every_question_starts_the_server_again(tmp_path: Path, ask: Callable[[EmbeddedStore], Any]) -> None:
    """Whoever else had the folder may have stopped it."""
    with EmbeddedStore(tmp_path) as store:
        store.publish(1, items=items(("a", 1, 1.0)))
        store.mark(b"mark")
        answer = ask(store)
        store._server.stop()
        assert ask(store) == answer


def test_a_kept_version_is_not_half_of_it_where_the_server_ends_meanwhile(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        store.publish(1, items=items(*((f"i{n}", 1, 1.0) for n in range(9000))))
        store.keep()
        pages = store.pages("items", 1)
        next(pages)
        store._server.stop()
        with pytest.raises(InputError, match="was away while version 1 was read"):
            list(pages)
        assert len(store.items(1).ids) == 9000


def test_a_guest_outlives_the_host(tmp_path: Path) -> None:
    host = EmbeddedStore(tmp_path)
    guest = EmbeddedStore(tmp_path)
    host.advance(7)
    assert guest.version() == 7
    host.close()
    assert guest.version() == 7
    guest.advance(8)
    guest.close()
    with EmbeddedStore(tmp_path) as store:
        assert store.version() == 8


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ends a server with the process that started it"
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_killed_owner_takes_its_server_along_and_keeps_the_data(tmp_path: Path, gone: bool) -> None:
    """The server ends also where the folder was deleted, and it has no place to save to."""
    folder = tmp_path / "store"
    script = (
        "import sys, time; from state.store.embedded import EmbeddedStore\n"
        "store = EmbeddedStore(sys.argv[1]); store.advance(11)\n"
        "print(store._server._process.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    if gone:
        shutil.rmtree(folder)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    if not gone:
        with EmbeddedStore(folder) as store:
            assert store.version() == 11
    until(lambda: not lives(server))


def test_a_killed_server_is_not_replaced_in_silence(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.advance(3)
    process = store._server._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(InputError, match="what it had not saved is lost"):
        store.version()
    store.close()


def test_a_save_that_fails_is_told(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.advance(3)
    (tmp_path / DATA).mkdir()
    with pytest.raises(InputError, match=r"could not be saved .*is the disk full\?"):
        store.close()


def test_junk_for_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATA).write_bytes(b"junk" * 100)
    with pytest.raises(InputError, match=r"the embedded server did not start: .*server\.log"):
        EmbeddedStore(tmp_path)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no place for a store"):
        EmbeddedStore(tmp_path / "file" / "store")
