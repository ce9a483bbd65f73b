"""Kernels of the user memory: what an event adds, what is forgotten for it, what the user's rates are.

Shape suffixes: B rows, R rates, T time constants, P waiting events.
"""

import math
from typing import NamedTuple

import numpy as np

from state.compiled import inserted
from state.examples import USER_RATES, Doubles, Floats
from state.forgetting import fold, retention, strengthened
from state.keys import NO_KEY, Int64s
from state.memory.pending import (
    W_CATEGORY,
    W_ITEM,
    W_KNOWN,
    W_MINUTE,
    W_PLACE,
    W_TIME,
    W_USER,
    Event,
    Pending,
    Rows,
)
from state.memory.slabs import (
    BANK,
    CATEGORY,
    COUNT,
    HEADER,
    ITEM,
    KNOWN,
    LAST,
    LENGTH,
    PACE,
    PACKED,
    PLACE,
    POSITIVES,
    ROOM,
    SEEN,
    TIME,
    Slabs,
    closed,
    entries,
    labels,
    opened,
    paces,
)

SUMS = slice(BANK, HEADER - 1)
"""The decayed sums within a header: counts at each time constant, then label sums."""
_COUNT, _POSITIVES, _DECAYED = (USER_RATES.index(name) for name in ("count", "positives", "count_1h"))
_ITEM_COUNT, _ITEM_POSITIVES = USER_RATES.index("item_count"), USER_RATES.index("item_positives")
_CATEGORY_COUNT, _CATEGORY_POSITIVES = (
    USER_RATES.index("category_count"),
    USER_RATES.index("category_positives"),
)
_GAP_S = USER_RATES.index("gap_s")


class Curve(NamedTuple):
    """Scalars of the forgetting curve."""

    capacity: int
    strength_ms: float
    gain: float
    cap_ms: float


class Memory(NamedTuple):
    """All users' memory."""

    slabs: Slabs
    pending: Pending
    curve: Curve
    bank_ms_T: Doubles


@inserted
def know(slabs: Slabs, pending: Pending, curve: Curve, bank_ms_T: Doubles) -> None:
    """Take the first waiting event: into the rates, and without a label only now into the memory."""
    p = pending.span[0]
    pending.span[0] = p + 1
    words = pending.words_P8
    user, time_ms, label = words[p, W_USER], words[p, W_TIME], pending.labels_P[p]
    worth = 1.0 if np.isnan(label) else np.float64(label)
    header = slabs.sums[user]
    if header[COUNT] == 0.0:
        slabs.users[user, SEEN] = time_ms
    header[COUNT] += 1.0
    header[POSITIVES] += worth
    slabs.users[user, SEEN] = fold(header[SUMS], slabs.users[user, SEEN], time_ms, worth, bank_ms_T)
    if np.isnan(label):
        event = Event(
            words[p, W_ITEM],
            words[p, W_CATEGORY],
            words[p, W_PLACE],
            time_ms,
            words[p, W_KNOWN],
            label,
            words[p, W_MINUTE],
        )
        remember(slabs, curve, user, event, met(slabs, curve, user, event.item, time_ms))


@inserted
def remember(slabs: Slabs, curve: Curve, user: int, event: Event, found: tuple[int, float]) -> None:
    """Put one event in its place by time; all entries of its item are strengthened together.

    `found` is what `met` says of it.

    A full memory forgets its oldest entry first, be it the event itself, which then changes nothing: so an
    item's newest entry goes last, and its `last_ms` is that entry's time.
    """
    item, time_ms = event.item, event.time_ms
    items = entries(slabs, user, ITEM)
    goes = leaving(slabs, curve, user, time_ms)
    if goes == len(items):
        return
    last_ms = time_ms
    i, pace = found
    if i >= 0:
        lasts, pace_of = entries(slabs, user, LAST), paces(slabs, user)
        last_ms = max(lasts[i], time_ms)
        for j in range(i, len(items)):
            if items[j] == item:
                lasts[j] = last_ms
                pace_of[j] = pace
    if goes >= 0:
        closed(slabs, user)
    at = slabs.users[user, LENGTH]
    times = entries(slabs, user, TIME)
    while at > 0 and times[at - 1] > time_ms:
        at -= 1
    slot = opened(slabs, user, at)
    words, room = slabs.words, slabs.users[user, ROOM]
    words[slot + TIME * room] = time_ms
    words[slot + ITEM * room] = item
    words[slot + CATEGORY * room] = event.category
    words[slot + PLACE * room] = event.place
    words[slot + KNOWN * room] = event.known_ms
    words[slot + LAST * room] = last_ms
    slabs.doubles[slot + PACE * room] = pace
    slabs.floats[2 * (slot + PACKED * room)] = event.label
    slabs.ints[2 * (slot + PACKED * room) + 1] = event.minute


@inserted
def met(slabs: Slabs, curve: Curve, user: int, item: int, time_ms: int) -> tuple[int, float]:
    """An item's first entry, or -1, and the pace of all its entries once it is met at `time_ms`."""
    items = entries(slabs, user, ITEM)
    if among(item, items) == 0:
        return -1, 1.0 / curve.strength_ms
    lasts, pace_of = entries(slabs, user, LAST), paces(slabs, user)
    i = 0
    while items[i] != item:
        i += 1
    retained = retention(np.float64(time_ms - lasts[i]), 1.0 / pace_of[i])
    return i, 1.0 / strengthened(1.0 / pace_of[i], retained, curve.gain, curve.cap_ms)


@inserted
def among(key: int, keys: Int64s) -> int:
    """How often `key` occurs: a loop without a branch, many entries a cycle."""
    count = 0
    for i in range(len(keys)):
        count += keys[i] == key
    return count


@inserted
def leaving(slabs: Slabs, curve: Curve, user: int, time_ms: int) -> int:
    """The entry that is forgotten for an event at `time_ms`: -1 for none while there is room.

    It is the oldest, of equals the one that came first; as many as there are entries for the event itself.
    Never one chosen by retention, which all entries of an item share: a memory that forgets by that fills
    with one item and keeps nothing of what was met once.
    """
    times = entries(slabs, user, TIME)
    if len(times) < curve.capacity:
        return -1
    return len(times) if times[0] > time_ms else 0


@inserted
def rates(slabs: Slabs, rows: Rows, b: int, bank_ms_T: Doubles, rates_R: Floats) -> None:
    """USER_RATES as of row b; of the memory's entries those count whose outcome is known."""
    user, time_ms, clock_ms = rows.user_B[b], rows.time_ms_B[b], rows.clock_ms_B[b]
    header = slabs.sums[user]
    rates_R[_COUNT] = header[COUNT]
    rates_R[_POSITIVES] = header[POSITIVES]
    constants = bank_ms_T.shape[0]
    gap_ms = max(time_ms - slabs.users[user, SEEN], 0)
    rates_R[_GAP_S] = gap_ms / 1000.0
    if header[COUNT] == 0.0:
        gap_ms = 0
        rates_R[_GAP_S] = -1.0
    for k in range(constants):
        fade = math.exp(-gap_ms / bank_ms_T[k])
        rates_R[_DECAYED + k] = header[BANK + k] * fade
        rates_R[_DECAYED + constants + k] = header[BANK + constants + k] * fade
    item, category = rows.item_B[b], rows.category_B[b]
    items, categories = entries(slabs, user, ITEM), entries(slabs, user, CATEGORY)
    of_item, good_item, of_category, good_category = 0.0, 0.0, 0.0, 0.0
    alike = among(item, items) + (among(category, categories) if category != NO_KEY else 0)
    if alike > 0:
        times, knowns = entries(slabs, user, TIME), entries(slabs, user, KNOWN)
        label_of = labels(slabs, user)
        for i in range(len(items)):
            same_item = items[i] == item
            same_category = categories[i] == category and category != NO_KEY
            if (same_item or same_category) and knowns[i] <= clock_ms:
                fade = retention(np.float64(time_ms - times[i]), bank_ms_T[-1])
                good = fade if np.isnan(label_of[i]) else fade * label_of[i]
                if same_item:
                    of_item += fade
                    good_item += good
                if same_category:
                    of_category += fade
                    good_category += good
    rates_R[_ITEM_COUNT] = of_item
    rates_R[_ITEM_POSITIVES] = good_item
    rates_R[_CATEGORY_COUNT] = of_category
    rates_R[_CATEGORY_POSITIVES] = good_category
