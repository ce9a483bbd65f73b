"""What was published last of every user and item, on the trainer's own disk, for a store that has lost it.

Nobody else has it all: a user's row is made from the window of the last event, which the topic of examples
keeps for days only, and the workers' state knows no vectors. A row is kept as the store has it, so what is
published again is what was there, bit for bit, and is no newer than it was. One row a user or item: the file
grows with them, not with events, and who is forgotten leaves it.

A database (SQLite), since a row is replaced far more often than added. A delta is kept as soon as
readers see it. Killed in between, a trainer publishes it anew, as it does all that came after its checkpoint.
What cannot be written (a full disk) waits in memory.
"""

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from state.store.contract import KINDS, EmbeddingStore, Gone, Kind, RunInfo
from state.store.records import Packed, packed_rows, stamp_of

NAME = "published.sqlite3"
_ROWS_A_PAGE = 512
_SETTINGS = ("page_size = 16384", "journal_mode = WAL", "synchronous = NORMAL")
_TABLES = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB)",
    *(
        f"CREATE TABLE IF NOT EXISTS {kind} (number INTEGER PRIMARY KEY, id BLOB UNIQUE, row BLOB)"
        for kind in KINDS
    ),
)


class Mirror:
    """A file in the directory of a trainer's checkpoints. One thread keeps rows; another may close it before
    that one has ended: what comes afterwards is not kept."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.trouble: str | None = None
        self._unwritten: dict[Kind, dict[bytes, bytes]] = {kind: {} for kind in KINDS}
        self._facts: dict[str, bytes] = {}
        self._unsaid = set[str]()
        """Facts that are not written yet."""
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        """Held while the connection is used: one that is closed in the middle takes the process with it."""
        self._closed = False
        self._open()

    @property
    def mark(self) -> bytes | None:
        """What the store is marked with; None before it was filled."""
        return self._facts.get("mark")

    @property
    def version(self) -> int:
        """That readers were pointed at when the newest rows were kept."""
        return int(self._facts.get("version", 0))

    @property
    def losses(self) -> int:
        """How often a store had lost what was published."""
        return int(self._facts.get("losses", 0))

    @property
    def info(self) -> RunInfo | None:
        value = self._facts.get("info")
        return None if value is None else msgspec.json.decode(value, type=RunInfo)

    def fill(self, store: EmbeddingStore) -> None:
        """Take over what a store holds, and mark it: for a trainer that has no mirror yet."""
        for kind in KINDS:
            for page in store.pages(kind):
                self.keep({kind: page}, 0)
        info, mark = store.info(), uuid.uuid4().hex.encode()
        if info is not None:
            self.keep_info(info)
        store.mark(mark)
        self._say("version", str(store.version()).encode())
        self._say("mark", mark)
        self._write()

    def keep(self, rows: Mapping[Kind, Packed], version: int) -> None:
        """Keep rows newer than those that are there; readers are pointed at `version` by now, or beyond."""
        for kind, packed in rows.items():
            self._unwritten[kind].update((packed.ids[b], packed.row(b)) for b in range(len(packed)))
        self._say("version", str(version).encode())
        self._write()

    def remove(self, kind: Kind, gone: Gone) -> None:
        """Remove what a store removes."""
        ids = [identifier.encode("utf-8", "surrogatepass") for identifier in gone.ids]
        unwritten = self._unwritten[kind]
        for identifier in ids:
            if identifier in unwritten and _older(unwritten[identifier], gone):
                del unwritten[identifier]
        try:
            for first in range(0, len(ids), _ROWS_A_PAGE):
                with self._lock:
                    self._remove_some(kind, ids[first : first + _ROWS_A_PAGE], gone)
        except sqlite3.Error as error:
            self._fail(error)

    def _remove_some(self, kind: Kind, ids: list[bytes], gone: Gone) -> None:
        if self._connection is None:
            return
        places = ", ".join("?" * len(ids))
        selected = self._connection.execute(f"SELECT id, row FROM {kind} WHERE id IN ({places})", ids)
        old = [(identifier,) for identifier, row in selected.fetchall() if _older(row, gone)]
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(f"DELETE FROM {kind} WHERE id = ?", old)
            cursor.execute("COMMIT")

    def keep_info(self, info: RunInfo) -> None:
        self._say("info", msgspec.json.encode(info))
        self._write()

    def count_loss(self) -> None:
        self._say("losses", str(self.losses + 1).encode())
        self._write()

    def pages(self, kind: Kind) -> Iterator[Packed]:
        """Everything of a kind, a page at a time."""
        unwritten = list(self._unwritten[kind].items())
        last = 0
        asked = f"SELECT number, id, row FROM {kind} WHERE number > ? ORDER BY number LIMIT ?"
        while rows := self._asked(asked, (last, _ROWS_A_PAGE)):
            last = rows[-1][0]
            yield packed_rows({identifier: row for _, identifier, row in rows})
        for first in range(0, len(unwritten), _ROWS_A_PAGE):
            yield packed_rows(dict(unwritten[first : first + _ROWS_A_PAGE]))

    def count(self) -> int:
        """Rows that are kept, about: what is not written yet may replace some."""
        rows = self._asked("SELECT (SELECT COUNT(*) FROM users) + (SELECT COUNT(*) FROM items)")
        written: int = rows[0][0] if rows else 0
        return written or sum(map(len, self._unwritten.values()))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _asked(self, question: str, values: Sequence[object] = ()) -> list[Any]:
        """Rows; none where there is no file."""
        with self._lock:
            return [] if self._connection is None else self._connection.execute(question, values).fetchall()

    def _open(self) -> None:
        """What is no database, or a broken one, is removed: it can be filled again."""
        for last_try in (False, True):
            try:
                connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
                for setting in _SETTINGS:
                    connection.execute(f"PRAGMA {setting}")
                for table in _TABLES:
                    connection.execute(table)
                self._facts = dict(connection.execute("SELECT name, value FROM facts")) | self._facts
                self._connection = connection
                return
            except sqlite3.OperationalError as error:  # such as a full disk
                self._fail(error)
                return
            except sqlite3.DatabaseError as error:
                self._fail(error)
                connection.close()
                if not last_try:
                    remove(self.path.parent)

    def _say(self, name: str, value: bytes) -> None:
        self._facts[name] = value
        self._unsaid.add(name)

    def _write(self) -> None:
        with self._lock:
            self._write_all()

    def _write_all(self) -> None:
        if self._connection is None and not self._closed:
            self._open()
        if self._connection is None:
            return
        try:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    for kind, rows in self._unwritten.items():
                        cursor.executemany(
                            f"INSERT INTO {kind} (id, row) VALUES (?, ?) "
                            "ON CONFLICT (id) DO UPDATE SET row = excluded.row",
                            rows.items(),
                        )
                    facts = [(name, self._facts[name]) for name in self._unsaid]
                    cursor.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
                    cursor.execute("COMMIT")
                except sqlite3.Error:
                    if self._connection.in_transaction:
                        cursor.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            self._fail(error)
            return
        self.trouble = None
        self._unsaid.clear()
        for rows in self._unwritten.values():
            rows.clear()

    def _fail(self, error: sqlite3.Error) -> None:
        self.trouble = f"{self.path.name}: what is published cannot be kept on disk ({error})"


def _older(row: bytes, gone: Gone) -> bool:
    return stamp_of(row)[1] < gone.before_ms


def remove(directory: Path) -> None:
    """Forget what an earlier trainer kept there."""
    for path in directory.glob(f"{NAME}*"):
        path.unlink()
