"""What a live trainer knows of items and users besides their events, and how that of items changes.

It begins with the tables of `--items` and `--users`, or with what is in the topic of items; then that topic
changes what is known of items. Which columns there are is decided at the beginning. All of it is part of the
checkpoint, with the place in the topic; what came after is in the journal.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np

from replay.meaning.side_changes import IDS, ItemChange, change_of, rows_of, unknown
from replay.meaning.side_columns import SideColumn
from replay.meaning.sides import ReadSide, side_of
from replay.reading.files import open_file
from replay.reading.usual_names import plain
from state.keys import Names
from state.side import ALWAYS, SideTable
from state.tree import Tree

log = logging.getLogger("ebbtide.train")

_OFTEN = 4096
"""Rows that may come before those that are no longer asked for are dropped."""
_BAD_SHOWN = 3


class ItemMessage(NamedTuple):
    """A message of the topic of items, as the journal keeps it: the topic forgets what has been said anew."""

    partition: int
    offset: int
    item: str | None
    """None where the message was set aside."""
    value: str | None
    """None where the item was deleted."""

    @property
    def change(self) -> bool:
        return self.item is not None


class SideTables:
    """Tables of what is known; `items` grows. Learners follow it."""

    def __init__(
        self, items: ReadSide | None = None, users: ReadSide | None = None, names: Names | None = None
    ) -> None:
        self.names = Names() if names is None else names
        self.items: SideTable | None = None if items is None else items.table
        self.users: SideTable | None = None if users is None else users.table
        self.columns: Mapping[str, SideColumn] = {} if items is None else items.columns
        self.offsets: dict[int, int] = {}
        """Partition of the topic of items -> what is read next."""
        self.changes = self.set_aside = 0
        """Messages that have changed something, and that could not be read."""
        self.unread: set[str] = set()
        """Columns of messages that the table has not."""
        self.read_from: dict[str, str] = {}
        """`items` or `users` -> digest of the file that it was read from."""
        self._settled = 0
        """Rows that were there when the table was last settled."""

    @classmethod
    def read(
        cls, items: Path | None, users: Path | None, called: Mapping[str, str] | None = None
    ) -> "SideTables":
        """The tables of two files; `called` is what the log calls `item` and `user`, as their id columns may
        be called, too. Raises InputError as `ebbtide replay` does."""
        names, like = Names(), called or {}
        tables = [
            _side(path, kind, names, like.get(kind, "")) for path, kind in ((items, "item"), (users, "user"))
        ]
        made = cls(tables[0], tables[1], names)
        made.read_from = _digests(items, users)
        return made

    def same_files(self, items: Path | None, users: Path | None) -> None:
        """Say so where a file is another one than the tables were read from: they go on as they are."""
        for kind, digest in _digests(items, users).items():
            if digest != self.read_from.get(kind):
                log.warning(
                    "--%s: not the file that this run began with, and it goes on with that; what is known of "
                    "items changes by their topic; to begin with another file, take another --checkpoint",
                    kind,
                )

    def begin(self, told: Sequence[ItemMessage], topic: str) -> None:
        """Take in what is in the topic as learning begins: where there is no table yet, it makes one."""
        if self.items is None and any(one.change for one in told):
            side = _side_of_messages(told, topic, self.names)
            if side is not None:
                self.items, self.columns = side.table, side.columns
            self._pass_over(told)
        else:
            self.apply(told, ALWAYS, ALWAYS)

    def apply(self, told: Sequence[ItemMessage], clock_ms: int, asked_ms: int) -> None:
        """Take in messages at a moment of the stream; no event before `asked_ms` is to come.

        What says no time holds from that moment on, the first that is known of an item from ever.
        """
        self._pass_over(told)
        read = [_change(one, self.columns) for one in told if one.change]
        self._note_unread(read)
        if self.items is None or not read:
            return
        keys = [self.names.add(change.item) for change in read]
        known = {key for key, there in zip(keys, self.items.knows(np.array(keys)), strict=True) if there}
        since_ms = []
        for key, change in zip(keys, read, strict=True):
            moment_ms = clock_ms if key in known else ALWAYS
            since_ms.append(moment_ms if change.since_ms is None else change.since_ms)
            known.add(key)
        self.items.add(rows_of(read, np.array(since_ms, np.int64), self.columns, self.names))
        if len(self.items) > 2 * max(self._settled, self.items.begun) + _OFTEN:
            self.items.settle(asked_ms)
            self._settled = len(self.items)

    def left_out(self) -> list[str]:
        """What was not taken in, in words."""
        sentences = []
        if self.set_aside:
            sentences.append(
                f"{self.set_aside:,} messages about items could not be read and were set aside "
                "(`ebbtide dead-letters list`)"
            )
        if self.unread:
            sentences.append(
                "messages about items have columns that were not there when learning began: left out are "
                + ", ".join(sorted(self.unread))
            )
        return sentences

    def _pass_over(self, told: Sequence[ItemMessage]) -> None:
        for message in told:
            self.offsets[message.partition] = message.offset + 1
            self.changes += message.change
            self.set_aside += not message.change

    def _note_unread(self, changes: Sequence[ItemChange]) -> None:
        new = unknown(changes, self.columns) - self.unread
        if new:
            self.unread |= new
            log.warning("%s", self.left_out()[-1])

    def tree(self) -> Tree:
        return {
            "items": None if self.items is None else self.items.tree(),
            "users": None if self.users is None else self.users.tree(),
            "columns": msgspec.json.encode(self.columns).decode(),
            "offsets": np.array(sorted(self.offsets.items()), np.int64).reshape(-1, 2),
            "changes": self.changes,
            "set_aside": self.set_aside,
            "unread": msgspec.json.encode(sorted(self.unread)).decode(),
            "read_from": msgspec.json.encode(self.read_from).decode(),
            "settled": self._settled,
        }

    @classmethod
    def of_tree(cls, tree: Tree | None) -> "SideTables":
        """The inverse of `tree`; nothing is known by a checkpoint that has none."""
        made = cls()
        if tree is None:
            return made
        items, users = tree["items"], tree["users"]
        made.items = None if items is None else SideTable.of_tree(items)
        made.users = None if users is None else SideTable.of_tree(users)
        made.columns = msgspec.json.decode(tree["columns"], type=dict[str, SideColumn])
        made.offsets = dict(tree["offsets"].tolist())
        made.changes, made.set_aside = int(tree["changes"]), int(tree["set_aside"])
        made.unread = set(msgspec.json.decode(tree["unread"], type=list[str]))
        made.read_from = msgspec.json.decode(tree["read_from"], type=dict[str, str])
        made._settled = int(tree["settled"])
        return made


def _change(told: ItemMessage, columns: Mapping[str, SideColumn] | None) -> ItemChange:
    assert told.item is not None
    return change_of(told.item.encode(), None if told.value is None else told.value.encode(), columns)


def _side(path: Path | None, kind: str, names: Names, like: str) -> ReadSide | None:
    return None if path is None else _said(side_of([open_file(path)], kind, names, like=like))


def _side_of_messages(told: Sequence[ItemMessage], topic: str, names: Names) -> ReadSide | None:
    """The table that a file with the same objects would give; of a deleted item none that came before."""
    rows: dict[str, list[bytes]] = {}
    for message in told:
        if message.item is None:
            continue
        if message.value is None:
            rows.pop(message.item, None)
            continue
        cells = msgspec.json.decode(message.value, type=dict[str, msgspec.Raw])
        named = {name: cell for name, cell in cells.items() if plain(name) not in IDS}
        item = msgspec.Raw(msgspec.json.encode(message.item))
        rows.setdefault(message.item, []).append(msgspec.json.encode({"item": item, **named}))
    if not rows:
        return None
    with TemporaryDirectory(prefix="ebbtide-") as folder:
        path = Path(folder) / f"{topic}.jsonl"
        path.write_bytes(b"\n".join(line for lines in rows.values() for line in lines) + b"\n")
        return _said(side_of([open_file(path)], "item", names))


def _said(side: ReadSide) -> ReadSide:
    """The side, once what is not in it was logged."""
    for note in side.notes:
        log.info("%s", note)
    for warning in side.warnings:
        log.warning("%s", warning)
    for path, row in side.bad[:_BAD_SHOWN]:
        log.warning("%s: row %d: %s: %s", path.name, row.number, row.reason, row.detail)
    return side


def _digests(items: Path | None, users: Path | None) -> dict[str, str]:
    return {
        kind: hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for kind, path in (("items", items), ("users", users))
        if path is not None and path.is_file()
    }
