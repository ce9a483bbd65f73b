"""The memory of every user: bounded, fading, and read before it is written to, event by event.

One call takes a micro-batch and gives for each row what was known before it; the k-th row of a user in
the batch sees the k - 1 before it. However a stream is cut into calls, the answers are the same.

Shape suffixes: B rows, W window, R rates, T time constants, N users, E entries, P waiting events.
"""

import numpy as np

from state.errors import InputError
from state.examples import BANK_S, BY_ITEM, ITEMS, USER_RATES, Floats, Window, empty_window
from state.forgetting import periodic
from state.keys import Int64s
from state.memory.columns import load_users, users_tree
from state.memory.mask import Selection, room, squares
from state.memory.memory_config import MemoryConfig
from state.memory.pending import Rows, moved_up, room_to_wait
from state.memory.recall import Curve, Memory
from state.memory.rows import Users
from state.memory.slabs import COUNT, FIELDS, HEADER, LENGTH, SEEN, grow, new_slabs
from state.memory.stepping import step
from state.memory.totals import tally
from state.memory.views import StepOutputs, WindowSpec
from state.memory.windows import Columns, Written, room_for_lists, within, written_lists
from state.memory.words import HEAD, LENGTH_AT, pack, unpack
from state.tree import Tree
from state.window_lists import WindowLists

_BANK_MS = np.array(BANK_S) * 1000.0
_NO_HORIZON_MS = 1 << 60
_WAITING = ("user", "item", "category", "place", "time_ms", "known_ms", "minute")
LABEL = len(_WAITING)
"""Where the words of a waiting event have the label's bits."""
STAMPS = 2
"""Words of a user's `Users.stamps`, after the others."""
_BEFORE_ALL_MS = -(2**62)
_UNSTAMPED = np.array([0, -1])
NOTHING = Selection(0, 0)


class UserMemory:
    """Every user's memory, running rates and events that wait to be known.

    `selection` says which entries go with each row, of none by default.
    With `follow_place`, `step` puts each request where the user was last, and with `follow_time` in that
    place's local time; without, `rows` say where it is.
    """

    def __init__(
        self,
        config: MemoryConfig,
        selection: Selection = NOTHING,
        *,
        follow_place: bool = False,
        follow_time: bool = False,
    ) -> None:
        self.config = config
        self.users = Users(config.expire_ms, config.most_users)
        self.curve = Curve(
            config.capacity, config.strength_s * 1000.0, config.gain, config.strength_cap_s * 1000.0
        )
        self.slabs = new_slabs(config.capacity)
        self._pending = room_to_wait(0)
        self._moved = 0
        self._changed_N = np.ones(0, np.bool_)
        self._stamps: list[Int64s] = []
        widths = (periodic(config.hour_width_h, 24), periodic(config.week_width_h, 168))
        horizon_ms = _NO_HORIZON_MS if config.horizon_s is None else int(config.horizon_s * 1000)
        self._wanted = WindowSpec(
            selection,
            config.periodic,
            follow_place,
            follow_time,
            horizon_ms,
            squares(clock=config.periodic),
            np.exp(np.tile(widths, 2).T).astype(np.float32, "C"),
        )
        self._room = room(selection.width, config.capacity)
        self._tally = tally(config.capacity)
        self._sink: Int64s = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return self.users.held

    @property
    def nbytes(self) -> int:
        """Bytes in use for users, their entries and the events that wait."""
        waiting = self._pending.span[1] - self._pending.span[0]
        words = self.slabs.free[0] + len(self.users) * (HEADER + 1) + waiting * (FIELDS + 1)
        return int(words) * 8 + self.users.nbytes

    def rows(self, key_B: Int64s) -> Int64s:
        """Rows of users by key; a new one gets the next, or where memory is bounded -1, and a row by `step`.

        To be called before `step` with the same users.
        """
        user_B = self.users.rows(key_B, grow=not self.users.bounded)
        if self.users.bounded:
            self.users.reserve(int((user_B < 0).sum()))
        self._make_room()
        return user_B

    def step(self, key_B: Int64s, rows: Rows) -> tuple[Floats, Window | None]:
        """For each row (users by key) USER_RATES (B, R) and the window as of it; then it is remembered."""
        width = self._wanted.selection.width
        window = _blank(len(rows.user_B), width) if width else None
        return self._stepped(key_B, rows, within(window or _NO_WINDOW)), window

    def step_lists(self, key_B: Int64s, rows: Rows) -> tuple[Floats, WindowLists]:
        """The same with windows as lists."""
        most = self._wanted.selection.width
        written = room_for_lists(len(rows.user_B), min(self._longest(key_B, rows), most))
        return self._stepped(key_B, rows, written), written_lists(written, most)

    def _stepped(self, key_B: Int64s, rows: Rows, windows: Written) -> Floats:
        size = len(rows.user_B)
        self._make_room_to_wait(size)
        first = self._pending.span[0]
        rates_BR = np.empty((size, len(USER_RATES)), np.float32)
        roll, done = self.users.roll(size) if self.users.bounded else None, 0
        answers, room = StepOutputs(windows, rates_BR), (self._room, self._tally)
        while done < size:
            memory = Memory(self.slabs, self._pending, self.curve, _BANK_MS)
            done = step(memory, rows, done, self._wanted, room, self._sink, answers, key_B, roll)
            if done < size:
                self.slabs = grow(self.slabs, 0)
        self._changed_N[rows.user_B] = True
        self._changed_N[self._pending.words_P8[first : self._pending.span[0], 0]] = True
        return rates_BR

    def _longest(self, key_B: Int64s, rows: Rows) -> int:
        """No memory of these users gets longer than this while they are remembered."""
        first, end = self._pending.span
        there_B = rows.user_B >= 0
        user_B = rows.user_B[there_B]
        coming = np.concatenate([user_B, self._pending.words_P8[first:end, 0]])
        longest = self.slabs.users[user_B, LENGTH].max(initial=0) + np.bincount(coming).max(initial=0)
        new = np.unique(key_B[~there_B], return_counts=True)[1].max(initial=0)
        return max(int(longest), int(new))

    def tree(self) -> Tree:
        """Users in the order of `Users.order`, then who waits."""
        user_N = self.users.order()
        place_N = np.empty(len(self.users), np.int64)
        place_N[user_N] = np.arange(len(user_N))
        first, end = self._pending.span
        waiting = {name: self._pending.words_P8[first:end, i].copy() for i, name in enumerate(_WAITING)}
        waiting["user"] = place_N[waiting["user"]]
        return {
            "users": self.users.tree(),
            **users_tree(self.slabs, user_N),
            "waiting": waiting | {"label": self._pending.labels_P[first:end].copy()},
        }

    def load(self, tree: Tree) -> None:
        """Take over what `tree` gave. Raises InputError where a user has more entries than fit."""
        longest = int(np.max(tree["length"], initial=0))
        if longest > self.config.capacity:
            raise InputError(
                f"memory: expected at most {self.config.capacity} entries a user (memory.capacity), "
                f"got {longest}; use the configuration that the state was saved with"
            )
        self.users.load(tree["users"])
        self.slabs = load_users(grow(new_slabs(self.config.capacity), len(self.users)), tree)
        self._changed_N = np.ones(len(self.slabs.users), np.bool_)
        waiting = tree["waiting"]
        self._moved = 0
        self._pending = room_to_wait(len(waiting["item"]))
        self._pending.span[1] = len(waiting["item"])
        for i, name in enumerate(_WAITING):
            self._pending.words_P8[:, i] = waiting[name]
        self._pending.labels_P[:] = waiting["label"]
        if self.users.bounded:
            self._arrange(tree["users"].get("stamps"), int(tree["users"].get("expired", 0)))

    def changed(self) -> Int64s:
        """Rows of the users that are not as they were at the last call."""
        user_N = self.users.order()
        user_N = user_N[self._changed_N[user_N]]
        self._changed_N[:] = False
        return user_N

    def sizes(self, user_N: Int64s) -> Int64s:
        """Words of each user: those of `state.memory.words`, and where memory is bounded the
        `Users.stamps`."""
        size_N: Int64s = HEAD + FIELDS * self.slabs.users[user_N, LENGTH] + STAMPS * self.users.bounded
        return size_N

    def packed(self, user_N: Int64s, edge_E: Int64s, words_W: Int64s) -> None:
        """Write users to `words_W`, each between two edges that are `sizes` apart."""
        pack(self.slabs, user_N, edge_E[:-1], words_W)
        if self.users.bounded:
            words_W[edge_E[1:, None] - np.arange(STAMPS, 0, -1)] = self.users.stamps(user_N)

    def reserve(self, length_N: Int64s) -> None:
        """Make room for as many more users, with so many entries."""
        self.users.reserve(len(length_N))
        rooms = self.slabs.rooms
        words = FIELDS * int(rooms[np.searchsorted(rooms, np.minimum(length_N, self.config.capacity))].sum())
        self.slabs = grow(self.slabs, len(self.users) + len(length_N), words)

    def adopt(self, key_N: Int64s, edge_E: Int64s, words_W: Int64s) -> None:
        """Take in new users that `packed` wrote; they count as not changed. `wait` is to follow at last."""
        first, done, start_N = len(self.users), 0, edge_E[:-1]
        self.users.rows(key_N, grow=True)
        self._make_room()
        while done < len(key_N):
            done = unpack(self.slabs, first, start_N, words_W, done)
            if done < len(key_N):
                self.slabs = grow(self.slabs, 0)
        self._changed_N[first : len(self.users)] = False
        stamped_N = np.diff(edge_E) == HEAD + FIELDS * words_W[start_N + LENGTH_AT] + STAMPS
        stamps_N2 = words_W[edge_E[1:, None] - np.arange(STAMPS, 0, -1)]
        self._stamps.append(np.where(stamped_N[:, None], stamps_N2, _UNSTAMPED))

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first event that waits and of the next to come, counted from the stream's start."""
        first, end = self._pending.span.tolist()
        return self._moved + first, self._moved + end

    def waiting(self, first: int, end: int) -> Int64s:
        """Events (P, 8) that wait, by number: the words of `Pending`, but with the key of the user."""
        rows = slice(first - self._moved, end - self._moved)
        words_P8 = self._pending.words_P8[rows].copy()
        words_P8[:, 0] = self.users.keys[words_P8[:, 0]]
        words_P8[:, LABEL] = self._pending.labels_P[rows].view(np.int32)
        return words_P8

    def wait(self, first: int, words_P8: Int64s, expired: int) -> None:
        """Let events wait that `waiting` gave, the first numbered `first`, after all users were adopted.

        `expired` users have been discarded so far. Raises InputError.
        """
        self._moved, self._pending = first, room_to_wait(len(words_P8))
        self._pending.span[1] = len(words_P8)
        self._pending.words_P8[:] = words_P8
        user_P = self.users.rows(words_P8[:, 0])
        if np.any(user_P < 0):
            raise InputError(
                f"memory: an event waits for user {words_P8[user_P < 0, 0][0]}, who is not there"
            )
        self._pending.words_P8[:, 0] = user_P
        self._pending.labels_P[:] = words_P8[:, LABEL].astype(np.int32).view(np.float32)
        if self.users.bounded:
            self._arrange(np.concatenate([*self._stamps, np.empty((0, STAMPS), np.int64)]), expired)
            self.users.tell()
        self._stamps = []

    def _arrange(self, stamps_N2: Int64s | None, expired: int) -> None:
        """Users without stamps (their state was kept when memory was not bounded) go by what is known."""
        users = len(self.users)
        if stamps_N2 is None:
            stamps_N2 = np.tile(_UNSTAMPED, (users, 1))
        first, end = self._pending.span
        seen_N = self.slabs.sums[:users, COUNT] > 0
        known_N = np.where(seen_N, self.slabs.users[:users, SEEN], _BEFORE_ALL_MS)
        np.maximum.at(known_N, self._pending.words_P8[first:end, 0], self._pending.words_P8[first:end, 5])
        without_N = stamps_N2[:, 1] < 0
        stamps_N2[without_N, 0] = known_N[without_N]
        self.users.arrange(stamps_N2, expired)

    def _make_room(self) -> None:
        """For users who have a row, or may get one."""
        rows = len(self.users.keys) if self.users.bounded else len(self.users)
        if rows > len(self.slabs.users):
            self.slabs = grow(self.slabs, rows)
        new = len(self.slabs.users) - len(self._changed_N)
        if new > 0:
            self._changed_N = np.concatenate([self._changed_N, np.ones(new, np.bool_)])

    def _make_room_to_wait(self, extra: int) -> None:
        moved = moved_up(self._pending, extra)
        if moved is not self._pending:
            self._moved += int(self._pending.span[0])
            self._pending = moved


def _blank(size: int, width: int) -> Window:
    """A window for `step` to write: zeros, which cost nothing where nothing is written."""
    like = ((name, getattr(_NO_WINDOW, name)) for name in Columns._fields)
    return Window(
        **{k: np.zeros((size, ITEMS if k in BY_ITEM else width)[: a.ndim], a.dtype) for k, a in like}
    )


_NO_WINDOW = empty_window(0, 0)
