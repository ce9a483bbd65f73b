"""The kernel of a micro-batch: row by row what was known before it, and then it is remembered.

Shape suffixes: B rows, R rates, T time constants.
"""

import math

from state.compiled import compiled
from state.keys import Int64s
from state.memory.mask import MaskRoom
from state.memory.pending import Rows, due, event_of, wait
from state.memory.recall import Memory, know, met, rates, remember
from state.memory.rows import Roll, seat
from state.memory.slabs import AHEAD, full, touch
from state.memory.totals import CountingRoom, totalled
from state.memory.views import StepOutputs, WindowSpec, copied, followed, selected, told


@compiled
def step(
    memory: Memory,
    rows: Rows,
    first: int,
    wanted: WindowSpec,
    room: tuple[MaskRoom, CountingRoom],
    sink: Int64s,
    answers: StepOutputs,
    key_B: Int64s,
    roll: Roll | None,
) -> int:
    """Rows from `first` on; returns the first that is not done, for want of room in the arena.

    `sink` is where `touch` leaves what nobody needs.
    """
    slabs, pending, curve, bank_ms_T = memory
    newest, masked = wanted.selection
    chosen, counted = room
    tail = curve.capacity if masked > 0 else newest
    for b in range(first, len(rows.user_B)):
        if (b - first) % AHEAD == 0:
            sink[0] = touch(slabs, rows.user_B[b : b + AHEAD], tail)
        while due(pending, rows.clock_ms_B[b]):
            if full(slabs):
                return b
            know(slabs, pending, curve, bank_ms_T)
        if full(slabs):
            return b
        if roll is not None:  # known when it is compiled: without a bound it costs nothing
            seat(slabs, roll, key_B[b], rows, b)
        rates(slabs, rows, b, bank_ms_T, answers.rates_BR[b])
        if wanted.follow_place:
            followed(slabs, rows, b, wanted.follow_time)
        found = met(slabs, curve, rows.user_B[b], rows.item_B[b], rows.time_ms_B[b])
        if newest + masked > 0:
            length = selected(slabs, rows, b, wanted, chosen)
            copied(slabs, rows, b, wanted, chosen, length, answers.windows)
            totalled(slabs, rows, b, wanted.horizon_ms, counted, answers.windows)
            told(slabs, curve, rows, b, found[1], chosen, answers.windows.columns)
        if not math.isnan(rows.label_B[b]):
            remember(slabs, curve, rows.user_B[b], event_of(rows, b), found)
        wait(pending, rows, b)
    return len(rows.user_B)
