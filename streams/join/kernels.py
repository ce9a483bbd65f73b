"""Kernels of the join: who waits, who leaves when, and whose time to be answered is over.

Impressions that wait have a slot each and stand in a heap by time, then arrival. `order_S` has the slots of
the heap and, behind them, the free ones. What an id has come to is in `table_T2`; those that have left are
also in the queue `done_D3`, in the order in which they left, until they are forgotten.

Shape suffixes: B rows, S slots, T places of the table, D ids that have left, O rows that come out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import assign, compiled, inner
from state.keys import NO_KEY, Int64s, find, mix, pair

KEY, TIME, ARRIVAL, SOURCE, PLACE = range(5)
"""Words of a slot: event id and user as one key, time, number, where the event is, place in `order_S`."""
SLOT = 5

CLOCK, ARRIVED, WAITING, FIRST, END, OUT, REJECTED, ENTERED = range(8)
"""Numbers: the clock, impressions so far, how many wait, the queue of those that have left,
rows written of the three outputs of `join`."""
ANSWERED_COUNT, UNANSWERED_COUNT, CROWDED_COUNT, DUPLICATES_COUNT, LATE_COUNT, SECOND_COUNT = range(8, 14)
NUMBERS = 14

ANSWERED, UNANSWERED = 1, 2
"""What an id has come to, in the table; else it waits, and the table has 4 times its slot."""
PASSES = -1
"""Instead of the row that answers: the row is handed on as it is."""
UNLABELLED = -2
"""Instead of the row that answers: nobody has answered."""


class Waiting(NamedTuple):
    """Arrays that the kernels work on."""

    table_T2: Int64s
    slots_SW: Int64s
    order_S: Int64s
    done_D3: Int64s
    """Key, what it has come to, and the clock when it left."""
    numbers: Int64s


class Rows(NamedTuple):
    """What is joined of events."""

    event_id_B: Int64s
    user_B: Int64s
    time_ms_B: Int64s
    labelled_B: NDArray[np.bool_]


class Outputs(NamedTuple):
    """What `join` writes; how much of it is among the numbers."""

    out_O2: Int64s
    """What comes out: where the event is (a slot, or the number of slots + a row), and the row that answers
    it."""
    rejected_B2: Int64s
    """Rows that answer what has left, and what that has come to."""
    entered_B: Int64s
    """The slots that rows were given, of which some are free again."""


@compiled
def join(rows: Rows, window_ms: int, most: int, waiting: Waiting, outputs: Outputs) -> None:
    """Rows in, one after another; the caller has made room."""
    event_id_B, user_B, time_ms_B, labelled_B = rows
    out_O2, rejected_B2, entered_B = outputs
    numbers, slots, order = waiting.numbers, waiting.slots_SW, waiting.order_S
    here = len(slots)
    for b in range(len(time_ms_B)):
        numbers[CLOCK] = max(numbers[CLOCK], time_ms_B[b])
        while numbers[FIRST] < numbers[END] and _over(waiting.done_D3[numbers[FIRST], 2], window_ms, numbers):
            _forget(waiting)
        while numbers[WAITING] > 0 and _over(slots[order[0], TIME], window_ms, numbers):
            _leave(waiting, order[0], UNLABELLED, most, out_O2)
        event_id = event_id_B[b]
        key, found = 0, -1
        if event_id != NO_KEY:
            key = pair(event_id, user_B[b])
            found = find(waiting.table_T2, key)
        if event_id == NO_KEY or (labelled_B[b] and found < 0):
            _hand_out(numbers, out_O2, here + b, PASSES)
        elif labelled_B[b] and found & 3 == 0:
            _leave(waiting, found >> 2, b, most, out_O2)
        elif labelled_B[b]:
            rejected_B2[numbers[REJECTED], 0] = b
            rejected_B2[numbers[REJECTED], 1] = found
            numbers[REJECTED] += 1
            numbers[SECOND_COUNT if found == ANSWERED else LATE_COUNT] += 1
        elif found >= 0:
            numbers[DUPLICATES_COUNT] += 1
        else:
            entered_B[numbers[ENTERED]] = _enter(waiting, key, time_ms_B[b], here + b)
            numbers[ENTERED] += 1
            if _over(slots[order[0], TIME], window_ms, numbers):
                _leave(waiting, order[0], UNLABELLED, most, out_O2)
            elif numbers[WAITING] > most:
                numbers[CROWDED_COUNT] += 1
                _leave(waiting, order[0], UNLABELLED, most, out_O2)


@inner
def put(table_T2: Int64s, key: int, value: int) -> None:
    """Set what the table has for `key`; the caller has made room."""
    mask = table_T2.shape[0] - 1
    i = mix(key) & mask
    while table_T2[i, 1] >= 0 and table_T2[i, 0] != key:
        i = (i + 1) & mask
    table_T2[i, 0] = key
    table_T2[i, 1] = value


@compiled
def put_all(table_T2: Int64s, entries_N2: Int64s) -> None:
    """Set keys to their values; entries with a value below 0 are none."""
    for n in range(len(entries_N2)):
        if entries_N2[n, 1] >= 0:
            put(table_T2, entries_N2[n, 0], entries_N2[n, 1])


@compiled
def set_keys(slots_SW: Int64s, event_id_N: Int64s, user_N: Int64s) -> None:
    """Keys of the first slots."""
    for n in range(len(event_id_N)):
        slots_SW[n, KEY] = pair(event_id_N[n], user_N[n])


@inner
def _erase(table_T2: Int64s, key: int) -> None:
    """Take out a key that is there, and close the gap: who was pushed past it moves up."""
    mask = table_T2.shape[0] - 1
    gap = mix(key) & mask
    while table_T2[gap, 0] != key or table_T2[gap, 1] < 0:
        gap = (gap + 1) & mask
    i = (gap + 1) & mask
    while table_T2[i, 1] >= 0:
        wanted = mix(table_T2[i, 0]) & mask
        if (i - wanted) & mask >= (i - gap) & mask:
            assign(table_T2[gap], table_T2[i])
            gap = i
        i = (i + 1) & mask
    table_T2[gap, 1] = -1


@inner
def _over(time_ms: int, window_ms: int, numbers: Int64s) -> bool:
    return bool(time_ms + window_ms <= numbers[CLOCK])


@inner
def _hand_out(numbers: Int64s, out_O2: Int64s, source: int, answer: int) -> None:
    out_O2[numbers[OUT], 0] = source
    out_O2[numbers[OUT], 1] = answer
    numbers[OUT] += 1


@inner
def _forget(waiting: Waiting) -> None:
    """The id that left first."""
    _erase(waiting.table_T2, waiting.done_D3[waiting.numbers[FIRST], 0])
    waiting.numbers[FIRST] += 1


@inner
def _enter(waiting: Waiting, key: int, time_ms: int, source: int) -> int:
    numbers = waiting.numbers
    slot = waiting.order_S[numbers[WAITING]]
    waiting.slots_SW[slot, KEY] = key
    waiting.slots_SW[slot, TIME] = time_ms
    waiting.slots_SW[slot, ARRIVAL] = numbers[ARRIVED]
    waiting.slots_SW[slot, SOURCE] = source
    put(waiting.table_T2, key, 4 * slot)
    numbers[ARRIVED] += 1
    numbers[WAITING] += 1
    _lift(waiting, numbers[WAITING] - 1)
    return int(slot)


@inner
def _leave(waiting: Waiting, slot: int, answer: int, most: int, out_O2: Int64s) -> None:
    """Hand out who waits in `slot`, and remember for a while that it was here."""
    numbers, slots, done = waiting.numbers, waiting.slots_SW, waiting.done_D3
    last = numbers[WAITING] - 1
    place, other = slots[slot, PLACE], waiting.order_S[last]
    _set(waiting, place, other)
    _set(waiting, last, slot)
    numbers[WAITING] = last
    if place < last:
        _lift(waiting, place)
        _sink(waiting, slots[other, PLACE])
    key, what = slots[slot, KEY], UNANSWERED if answer == UNLABELLED else ANSWERED
    numbers[UNANSWERED_COUNT if answer == UNLABELLED else ANSWERED_COUNT] += 1
    put(waiting.table_T2, key, what)
    done[numbers[END], 0] = key
    done[numbers[END], 1] = what
    done[numbers[END], 2] = numbers[CLOCK]
    numbers[END] += 1
    if numbers[END] - numbers[FIRST] > most:
        _forget(waiting)
    _hand_out(numbers, out_O2, slots[slot, SOURCE], answer)


@inner
def _set(waiting: Waiting, place: int, slot: int) -> None:
    waiting.order_S[place] = slot
    waiting.slots_SW[slot, PLACE] = place


@inner
def _earlier(slots_SW: Int64s, a: int, b: int) -> bool:
    if slots_SW[a, TIME] != slots_SW[b, TIME]:
        return bool(slots_SW[a, TIME] < slots_SW[b, TIME])
    return bool(slots_SW[a, ARRIVAL] < slots_SW[b, ARRIVAL])


@inner
def _lift(waiting: Waiting, place: int) -> None:
    """Move who stands at `place` towards the front, past those who came later."""
    order, slots = waiting.order_S, waiting.slots_SW
    slot = order[place]
    while place > 0 and _earlier(slots, slot, order[(place - 1) >> 1]):
        _set(waiting, place, order[(place - 1) >> 1])
        place = (place - 1) >> 1
    _set(waiting, place, slot)


@inner
def _sink(waiting: Waiting, place: int) -> None:
    """Move who stands at `place` back, past those who came earlier."""
    order, slots = waiting.order_S, waiting.slots_SW
    size, slot = waiting.numbers[WAITING], order[place]
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _earlier(slots, order[child + 1], order[child]):
            child += 1
        if _earlier(slots, slot, order[child]):
            break
        _set(waiting, place, order[child])
        place = child
    _set(waiting, place, slot)
