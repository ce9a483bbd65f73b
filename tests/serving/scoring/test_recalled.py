"""A published memory speaks as the operator's window does: plain kernels beside the compiled ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.copying.candidates.evidence import OWN, own, remember_own, tables
from serving.scoring.recalled import PlacedItems, kernels, recalled
from state.evidence import STIM
from state.examples import empty_window
from state.forgetting import minute_of_week
from state.keys import NO_KEY, KeyMap
from state.memory.windows import Columns, columns_of
from state.store.contract import RunInfo
from state.store.records import MEMORY_ENTRY, Entries, Record

ITEMS, CELL = 5, 7
INFO = RunInfo(log="-", learner="-")
NOW_MS, TZ_MIN = 1_500_854_400_000, -300
PLACE_N2 = np.array([[-73.99, 40.75], [-73.985, 40.751], [-73.97, 40.77], [-73.5, 40.7], [np.nan, np.nan]])
KM_N3 = np.column_stack([PLACE_N2 * [111.32, 110.57], np.cos(np.radians(PLACE_N2[:, 1]))])


@st.composite
def memories(draw: st.DrawFn) -> Entries:
    ages_s = sorted(draw(st.lists(st.integers(0, 100 * 86_400), max_size=12)), reverse=True)
    memory = np.zeros(len(ages_s), MEMORY_ENTRY)
    for w, age_s in enumerate(ages_s):
        time_ms = NOW_MS - 1000 * age_s
        memory[w] = (
            draw(st.integers(0, ITEMS)),  # item 5 is in no catalogue
            *(time_ms, time_ms, draw(st.sampled_from([NO_KEY, CELL, 8])), 30 * 86_400.0),
            *(draw(st.sampled_from([1.0, 0.0, np.nan])), minute_of_week(time_ms, TZ_MIN)),
            *(draw(st.integers(0, 9 * 86_400)), draw(st.sampled_from([NO_KEY, *range(ITEMS + 1)]))),
        )
    return memory


def window(memory: Entries) -> Columns:
    """What the operator would have said of the same memory."""
    age_s_W = ((NOW_MS - memory["time_ms"]) / 1000.0).astype(np.float32)
    columns = {
        "item_BW": memory["item"],
        "cell_BW": memory["cell"],
        "age_s_BW": age_s_W,
        "retention_BW": np.exp(-age_s_W / memory["strength_s"]),
        "label_BW": memory["label"],
        "before_BW": memory["before"],
        "gap_s_BW": memory["gap_s"],
    }
    return columns_of(empty_window(1, len(memory)))._replace(
        length_B=np.array([len(memory)]),
        **{name: np.array(column)[np.newaxis] for name, column in columns.items()},
    )


@settings(max_examples=150, deadline=None)
@given(memories(), st.sampled_from([NO_KEY, CELL]))
def test_entries_add_up_to_the_evidence(memory: Entries, cell: int) -> None:
    room = own(max(len(memory), 1), ITEMS)
    tz_min = TZ_MIN if len(memory) else 0
    minute = minute_of_week(NOW_MS, tz_min)
    items = KeyMap(np.arange(ITEMS)).table
    many, _, last = remember_own(window(memory), 0, minute, cell, items, KM_N3, tables(), True, room)
    row_W, before_W = (np.where(memory[name] < ITEMS, memory[name], -1) for name in ("item", "before"))
    before_W = np.maximum(before_W, -1)
    here = PLACE_N2[last] if last >= 0 else np.full(2, np.nan)
    record = Record(1, NOW_MS, np.zeros((1, 1), np.float32), np.zeros(0, np.int64), memory)
    now = recalled(record, INFO, NOW_MS, cell)
    kernel_WK = kernels(now, STIM, row_W, before_W, PLACE_N2, here)
    assert STIM.whole == "count"
    total = 1e-6 + room.count_C[:many].sum()
    for c in range(many):
        mine_K = kernel_WK[row_W == room.item_C[c]].sum(0)
        expected_K = np.append(room.sum_CK[c], room.count_C[c])
        expected_K[OWN.index("share")] = room.count_C[c] / total
        np.testing.assert_allclose(mine_K, expected_K, rtol=2e-3, atol=2e-4)
    assert not kernel_WK[~np.isin(row_W, room.item_C[:many])].any()


def test_distances_are_those_on_a_map() -> None:
    km2_N = PlacedItems(PLACE_N2).kilometres2(PLACE_N2[0])
    assert km2_N[0] == 0.0
    assert np.sqrt(km2_N[1]) == pytest.approx(0.436, abs=0.002)  # a twentieth of a mile up, a quarter across
    assert np.sqrt(km2_N[3]) == pytest.approx(41.7, abs=0.2)
    assert np.isnan(km2_N[4])
