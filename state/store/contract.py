"""The embedding store: what was learned last of every user and item, readable while learning goes on.

Shape suffixes: B rows of a delta, K interests, D width, N items, W memory entries.

A row carries the version that wrote it and the time of the event behind it, and never goes backwards: a
row whose (version, event time) is older than what is held changes nothing. What is published as one version
becomes visible in one step, with `version()`, or not at all. Users and items are addressed by the text of
their id.

Readers are pointed at the newest version, or at one that was kept (`state.store.kept`): `pointer()` says
which, and what they read they read `at` that one, so that no answer is of two.

A server may lose what it was given: it is emptied, restarted from older data, replaced by a replica that was
behind, or it evicts. So the one that publishes leaves a mark inside the users and inside the items, where
nothing can take the rows without it, and looks whether all is as it left it (`intact`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import msgspec
import numpy as np

from state.arrays import Floats, Int64s
from state.errors import InputError
from state.store.copy_score import CopyScore
from state.store.health import Flaw
from state.store.kept import NEWEST, Facts, Kept
from state.store.records import Entries, Packed, Record, Totals, pack, single_vectors, unpack

Kind = Literal["users", "items"]
KINDS: tuple[Kind, Kind] = ("users", "items")


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a query must know of the run that published; held as JSON."""

    log: str
    learner: str
    width: int = 0
    """D of every vector, the bias coordinate included."""
    leave_out: Literal["none", "user", "session"] = "none"
    label: str | None = None
    interests: tuple[str, ...] = ()
    """What each interest row is, such as "recent", "long", "hour", "week", "place"."""
    hour_width_h: float = 1.0
    week_width_h: float = 1.0
    """Widths of the memory's hour-of-day and hour-of-week kernels (`state.forgetting.periodic`)."""
    popular: tuple[tuple[str, float], ...] = ()
    """What to recommend to somebody unknown: item ids with scores, best first."""
    titles: dict[str, str] = {}
    """Item id -> what people call it, where the log's item table has a text."""
    columns: dict[str, dict[str, tuple[str, ...]]] = {}
    """Category column of the log's item table -> value -> ids of items, for those who filter."""
    item_names: dict[str, str] = {}
    """Key -> id of items that have no vector of their own and a hashed key."""
    explore: float = 0.0
    """Share of the places of recommendations that are kept for what is new to the user; 0 for none."""
    explores_by: tuple[int, ...] = ()
    """Versions whose word of what is tried holds. So one write withdraws a version, whoever's row it made."""
    coevolution: dict[str, Any] | None = None
    """What has evolved in cycles, of a learner that has any: JSON of `learners.coevolution.record`."""
    copy: CopyScore | None = None
    """The score to recommend by, where the learner has one; else that of the interests."""


class Gone(NamedTuple):
    """Rows to remove, before others are put: those of these ids that are of events before `before_ms`."""

    ids: Sequence[str] = ()
    before_ms: int = 0


NOTHING_GONE = Gone()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRows:
    """B users to put."""

    ids: Sequence[str]
    event_time_ms_B: Int64s
    interests_BKD: Floats
    memory_B: Sequence[Entries] | None = None
    """What each still remembers, oldest first (dtype MEMORY_ENTRY); the newest MEMORY_LIMIT are kept."""
    totals_B: Sequence[Totals] | None = None
    """What the whole memory says of items (dtype TOTAL), where that is more than the entries tell."""
    left_out_B: Sequence[Int64s] | None = None
    """Item keys that the run's leave-out rule keeps from each, as of the row's event."""
    gone: Gone = NOTHING_GONE


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRows:
    """B items to put; the last coordinate of a vector is the item's bias."""

    ids: Sequence[str]
    event_time_ms_B: Int64s
    vectors_BD: Floats
    gone: Gone = NOTHING_GONE


class Publication(NamedTuple):
    """What becomes visible in one step."""

    version: int
    rows: Mapping[Kind, Packed]
    gone: Mapping[Kind, Gone]
    """Goes before rows come."""


class Changes(NamedTuple):
    """What has changed since a position, up to another."""

    position: bytes
    rows: Packed
    """Rows that are there, as they are now."""
    gone: list[str]
    """Ids whose rows are there no longer."""
    as_of: tuple[int, bytes]
    """The version and the move to it, as `Pointer` has them, of the moment that all this is of."""


class Pointer(NamedTuple):
    """Where readers are pointed."""

    version: int
    """The newest version all of whose rows are in, or one that was kept; 0 before the first."""
    moved: bytes
    """Another after every move: also in a store that was emptied, and has come to the same version again."""
    told: bytes
    """Another after every `put_info` of what readers are served."""
    at: int = NEWEST
    """What to read at: the newest, or the kept version."""


@dataclass(frozen=True, slots=True)
class Items:
    """Every item, sorted by id."""

    ids: list[str]
    version_N: Int64s
    event_time_ms_N: Int64s
    vectors_ND: Floats


class EmbeddingStore(ABC):
    """One run's vectors. A store implements the primitives at the bottom; `close` it, or use `with`.

    Every method raises InputError, in one line, if the store cannot be reached.
    """

    def put_users(self, version: int, rows: UserRows) -> int:
        """Put users in; how many rows were not older than what was held."""
        return self.put("users", packed_users(version, rows))

    def put_items(self, version: int, rows: ItemRows) -> int:
        """Put items in; how many rows were not older than what was held."""
        return self.put("items", packed_items(version, rows))

    def publish(self, version: int, users: UserRows | None = None, items: ItemRows | None = None) -> None:
        """Put rows in and point readers at `version`, in one step."""
        rows: dict[Kind, Packed] = {}
        gone: dict[Kind, Gone] = {}
        if items is not None:
            rows["items"], gone["items"] = packed_items(version, items), items.gone
        if users is not None:
            rows["users"], gone["users"] = packed_users(version, users), users.gone
        self.write(Publication(version, rows, gone))

    def user(self, identifier: str, at: int = NEWEST) -> Record | None:
        """A user's row (interests, memory, what is left out), or None if unknown.

        Like all that is read `at` a version: raises VersionGoneError if it is not kept any longer.
        """
        value = self._get("users", identifier, at)
        return None if value is None else unpack(value)

    def item(self, identifier: str, at: int = NEWEST) -> Record | None:
        """An item's row (one vector), or None if unknown."""
        value = self._get("items", identifier, at)
        return None if value is None else unpack(value)

    def served(self, kind: Kind, identifier: str) -> Record | None:
        """A user's or item's row in the version that readers are pointed at now."""
        value = self._get(kind, identifier, self.pointer().at)
        return None if value is None else unpack(value)

    def items(self, at: int = NEWEST) -> Items:
        """All item vectors. Raises InputError where two runs have mixed widths under one name."""
        pages = [(page.names(), *single_vectors(page)) for page in self.pages("items", at)]
        pages = [page for page in pages if page[0]]
        widths = sorted({vectors_BD.shape[1] for _, _, vectors_BD in pages})
        if len(widths) > 1:
            raise InputError(f"{self}: {_mixed(widths)}")
        if not pages:
            return Items([], np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 0), np.float32))
        ids = [identifier for page in pages for identifier in page[0]]
        stamp_B2 = np.concatenate([page[1] for page in pages])
        vectors_BD = np.concatenate([page[2] for page in pages])
        oldest_first = np.lexsort((stamp_B2[:, 1], stamp_B2[:, 0])).tolist()
        row_of = {ids[row]: row for row in oldest_first}
        names = sorted(row_of)
        rows_N = np.array([row_of[name] for name in names])
        return Items(names, stamp_B2[rows_N, 0], stamp_B2[rows_N, 1], vectors_BD[rows_N])

    @abstractmethod
    def write(self, publication: Publication, mark: bytes | None = None, version: int = 0) -> bool:
        """Put rows in and point readers at the publication's version unless they are beyond it, in one step.

        With a mark readers are pointed there only if the store is `intact`, with that mark and `version`:
        whether it is.
        """

    @abstractmethod
    def advance(self, version: int) -> int:
        """Point readers at `version` unless they are beyond it; where they point now."""

    @abstractmethod
    def mark(self, mark: bytes) -> None:
        """Leave a mark inside the users and inside the items, which `clear` removes."""

    @abstractmethod
    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        """Whether both hold the mark and readers are pointed at `version` or beyond.

        If so, they are pointed at `then` in the same moment, as `advance` does. Raises InputError where there
        is the mark of another.
        """

    @abstractmethod
    def pointer(self) -> Pointer:
        """Where readers are pointed, asked in one go: as long as it is the same, nothing is new."""

    @abstractmethod
    def version(self) -> int:
        """The newest version all of whose rows are in, whatever readers are served; 0 before the first."""

    def keep(self, note: str = "", clock_ms: int | None = None) -> int:
        """Keep the newest version, to return to; which one it is.

        `note` says why, `clock_ms` up to what time of the stream it has learned. One that is kept already
        stays as it is. Raises InputError where nothing was published, or no older one can go to make room.
        """
        return self._keep(Facts(note=note, made_ms=round(time.time() * 1000), clock_ms=clock_ms))

    @abstractmethod
    def _keep(self, facts: Facts) -> int: ...

    @abstractmethod
    def kept(self) -> list[Kept]:
        """The versions that are kept, the oldest first."""

    @abstractmethod
    def rollback(self, version: int) -> None:
        """Serve a kept version from now on, until another is, or `resume`. Raises VersionGoneError."""

    @abstractmethod
    def resume(self) -> None:
        """Serve the newest version again."""

    @abstractmethod
    def forget_kept(self) -> None:
        """Keep none any longer, and serve the newest: for who finds that rows have been lost."""

    @abstractmethod
    def put_info(self, info: RunInfo) -> None: ...

    @abstractmethod
    def info(self, at: int = NEWEST) -> RunInfo | None:
        """None if nothing was published under this name."""

    @abstractmethod
    def put_status(self, status: bytes) -> None:
        """What the trainer says of itself (`state.progress.TrainerStatus`), in place of what it said."""

    @abstractmethod
    def status(self) -> bytes | None:
        """What the trainer said last; None if it never did."""

    @abstractmethod
    def put_request(self, request: bytes | None) -> None:
        """What the trainer is asked to do, in place of what waits; None once it is taken up."""

    @abstractmethod
    def request(self) -> bytes | None:
        """What waits for the trainer."""

    @abstractmethod
    def counts(self) -> dict[Kind, int]:
        """How many users and items are held."""

    @abstractmethod
    def some(self, kind: Kind, count: int) -> list[str]:
        """Up to `count` different ids that are held, drawn at random."""

    @abstractmethod
    def clear(self) -> None:
        """Forget this run, as a new one under the same name begins."""

    def flaws(self) -> list[Flaw]:
        """What is wrong with the server itself, as far as it may be asked."""
        return []

    def policy(self) -> str | None:
        """What becomes of keys when the server is full: KEEPS_ALL, or how it evicts; None if it won't say."""
        return None

    def probe(self) -> float:
        """Write something and remove it; how many ms the server's clock is ahead of ours."""
        return 0.0

    def hurry(self, seconds: float) -> None:
        """Fail after so long, and try nothing twice: for who tries again by itself."""

    def shared(self) -> InputError:
        """What is raised where two publish under one name."""
        return InputError(
            f"{self}: another trainer publishes there, too; stop it, or give each a name of its own "
            "(?run=NAME in the URL)"
        )

    def close(self) -> None:
        """Let go of the connection, and of a server that is ours."""

    @abstractmethod
    def put(self, kind: Kind, packed: Packed) -> int:
        """Put rows in; how many were not older than what was held."""

    @abstractmethod
    def remove(self, kind: Kind, gone: Gone) -> int:
        """Remove rows; how many. One of a newer event stays, compared where it is held."""

    @abstractmethod
    def _get(self, kind: Kind, identifier: str, at: int = NEWEST) -> bytes | None: ...

    @abstractmethod
    def position(self, kind: Kind) -> bytes:
        """Where a kind's feed of changes has come to (`versions`): ask before reading everything."""

    @abstractmethod
    def changes(self, kind: Kind, since: bytes) -> Changes | None:
        """What has changed in the newest version since a position, as of one moment.

        None where that is not known, and all has to be read again.
        """

    @abstractmethod
    def pages(self, kind: Kind, at: int = NEWEST) -> Iterator[Packed]:
        """Everything of a kind, a page at a time; a row may come twice while others write."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def packed_users(version: int, rows: UserRows) -> Packed:
    """Raises InputError as `pack` does."""
    lists = (rows.left_out_B, rows.memory_B, rows.totals_B)
    return pack(version, rows.ids, rows.event_time_ms_B, rows.interests_BKD, *lists)


def packed_items(version: int, rows: ItemRows) -> Packed:
    """Raises InputError as `pack` does."""
    return pack(version, rows.ids, rows.event_time_ms_B, rows.vectors_BD[:, np.newaxis])


def _mixed(widths: list[int]) -> str:
    return (
        f"item vectors of widths {widths}; several runs wrote under one name: "
        "give each its own (?run=NAME in the URL) and replay again"
    )
