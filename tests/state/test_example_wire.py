"""Examples on the wire come back bit for bit, and what is no such message is refused."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import example_wire
from state.errors import InputError
from state.examples import BY_ENTRY, BY_ITEM, ITEMS, ExampleBatch, concat, empty_examples, widened
from state.ids import NO_KEY
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from state.window_lists import lists_of
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch

MADE_BY = {"operator": {"own_place": True}, "window": 8}


def drawn(seed: int, size: int, width: int | None) -> ExampleBatch:
    """Examples with something in every column, or hardly anything."""
    rng = np.random.default_rng(seed)
    tree = empty_examples(size, width).tree()
    for part in (tree, tree.get("window", {})):
        for column in part.values():
            if isinstance(column, np.ndarray) and rng.random() < 0.6:
                column[...] = rng.integers(-3, 4, column.shape).astype(column.dtype)
    if width is not None:
        window, kept = tree["window"], empty_examples(size, width).tree()["window"]
        window["length_B"][:] = rng.integers(0, width + 1, size)
        beyond_BW = np.arange(width) >= window["length_B"][:, np.newaxis]
        for name, column in window.items():
            if name in BY_ENTRY:
                column[beyond_BW] = kept[name][beyond_BW]
        items_B1 = rng.integers(0, ITEMS + 1, (size, 1))
        window["total_item_BI"][:] = np.where(np.arange(ITEMS) < items_B1, 7, NO_KEY)
        for name in BY_ITEM[1:]:
            window[name][np.arange(ITEMS) >= items_B1] = 0.0
        ago_ms_BW = np.maximum(tree["time_ms_B"][:, np.newaxis] - window["time_ms_BW"], 0)
        window["age_s_BW"][:] = np.where(beyond_BW, 0.0, ago_ms_BW / 1000.0)
    return ExampleBatch.from_tree(tree)


@given(st.integers(0, 2**31), st.integers(1, 40), st.sampled_from([None, 1, 8]), st.sampled_from([1, 20_000]))
def test_examples_come_back_bit_for_bit(seed: int, size: int, width: int | None, most: int) -> None:
    batch = drawn(seed, size, width)
    produced_ms_B = np.arange(size) * 1000
    named = (batch.user_B, batch.item_B, batch.category_B, batch.scene_B)
    names = {int(key): f"id {key}" for key in np.concatenate(named) if key > 0}
    shipped = example_wire.encode(batch, produced_ms_B, names, MADE_BY, most)
    back = [example_wire.decode(value) for _, value in shipped]
    assert [len(one.batch) for one in back] == [rows for rows, _ in shipped]
    assert most > 1 or len(shipped) == size
    assert digest(widened(concat([one.batch for one in back]), width or 0).tree()) == digest(batch.tree())
    assert np.array_equal(np.concatenate([one.produced_ms_B for one in back]), produced_ms_B)
    assert {key: text for one in back for key, text in one.names.items()} == names
    assert back[0].made_by == MADE_BY
    assert back[0].batch.user_B.flags.writeable


def of_operator() -> ExampleBatch:
    """Examples of a user who comes back to an item, and to another."""
    events = EventBatch.of(
        user=np.ones(4, np.int64),
        item=np.array([5, 6, 5, 7]),
        time_ms=1_600_000_000_000 + np.array([0, 1, 40, 44]) * 3_600_000,
        label=np.ones(4, np.float32),
    )
    return Operator(OperatorConfig(), window=3).process(events, 0)


@given(st.integers(0, 2**31), st.integers(1, 300), st.sampled_from([0, 3]), st.sampled_from([4_000, 900_000]))
def test_windows_that_are_made_as_lists_make_the_same_messages(
    seed: int, size: int, delay_ms: int, most: int
) -> None:
    """And as dense ones, of an operator that was given the same, whatever their rows have."""
    rng = np.random.default_rng(seed)
    time_ms_B = 1_600_000_000_000 + np.cumsum(rng.integers(-2, 9, size)) * 3_600_000
    label_B = np.where(rng.random(size) < 0.3, np.nan, rng.integers(0, 2, size)) if seed % 3 else None
    columns: dict[str, Any] = {"label": label_B.astype(np.float32)} if label_B is not None else {}
    columns |= {"place": rng.integers(0, 3, size)} if seed % 2 else {}
    events = EventBatch.of(
        user=rng.integers(0, 4, size), item=rng.integers(0, 9, size), time_ms=time_ms_B, **columns
    )
    config = OperatorConfig(
        label_delay_ms=delay_ms, memory=MemoryConfig(capacity=20, periodic=bool(seed % 5))
    )
    dense, lists = Operator(config, window=6, newest=2), Operator(config, window=6, newest=2)
    for first in range(0, size, 100):
        some = events.take(slice(first, first + 100))
        batch = dense.process(some, 0)
        other, windows = lists.process_lists(some, 0)
        expected = example_wire.encode(batch, batch.time_ms_B, {}, MADE_BY, most)
        assert example_wire.encode(other, other.time_ms_B, {}, MADE_BY, most, windows) == expected
    assert digest(lists.tree()) == digest(dense.tree())


def test_how_large_rows_are_is_what_arrow_says() -> None:
    """On it depends where messages are cut."""
    for seed, width in enumerate((None, 1, 8)):
        batch = drawn(seed, 30, width)
        lists = None if batch.window is None else lists_of(batch.window)
        record, _ = example_wire._record(batch, lists, batch.time_ms_B, MADE_BY)
        size_of = example_wire._sizes(record, lists)
        for first, end in ((0, 30), (0, 1), (7, 9), (29, 30)):
            assert size_of(first, end) == record.slice(first, end - first).nbytes


LINKS = ("before_BW", "gap_s_BW", *BY_ITEM)
NEWER = ("time_ms_BW", "minute_BW", "strength_s_BW", "own_strength_s_B", "own_minute_B", "goes_B", *LINKS)


def as_sent(value: bytes, schema: bytes, left_out: tuple[str, ...], **more: Any) -> bytes:
    """A message as an earlier version has sent it."""
    with pa.ipc.open_stream(value) as reader:
        record = reader.read_next_batch()
    names = [name for name in record.schema.names if name.split(".")[-1] not in left_out]
    columns = {name: record.column(name) for name in names} | {f"window.{k}": v for k, v in more.items()}
    said = {**record.schema.metadata, b"ebbtide-schema": schema}
    sink = pa.BufferOutputStream()
    old = pa.record_batch(columns).replace_schema_metadata(said)
    with pa.ipc.new_stream(sink, old.schema) as writer:
        writer.write_batch(old)
    return sink.getvalue().to_pybytes()


def test_messages_and_states_that_know_nothing_of_what_came_before_are_read() -> None:
    batch = of_operator()
    assert batch.window is not None
    [(_, value)] = example_wire.encode(batch, np.zeros(4, np.int64), {}, MADE_BY)
    views = pa.array([[1] * n for n in batch.window.length_B], pa.list_(pa.uint8()))
    shipped = example_wire.decode(as_sent(value, b"examples+arrow/2", LINKS, views_BW=views)).batch
    tree = batch.tree()
    window = {name: column for name, column in tree["window"].items() if name not in LINKS}
    saved = ExampleBatch.from_tree({**tree, "window": {**window, "views_BW": np.ones((4, 3), np.uint8)}})
    assert digest(shipped.tree()) == digest(saved.tree())
    assert shipped.window is not None
    assert (shipped.window.total_item_BI == NO_KEY).all()
    for name in BY_ENTRY:
        np.testing.assert_array_equal(getattr(shipped.window, name), getattr(batch.window, name))


def test_messages_and_states_without_strengths_are_read() -> None:
    batch = of_operator()
    tree = batch.tree()
    window = {name: column for name, column in tree["window"].items() if name not in NEWER}
    read = ExampleBatch.from_tree({**tree, "window": window})

    [(_, value)] = example_wire.encode(batch, np.zeros(4, np.int64), {}, MADE_BY)
    ages = [column[:n] for column, n in zip(window["age_s_BW"], window["length_B"], strict=True)]
    age_s_BW = pa.array(ages, pa.list_(pa.float32()))
    shipped = example_wire.decode(as_sent(value, b"examples+arrow/1", NEWER, age_s_BW=age_s_BW)).batch

    assert read.window is not None
    assert batch.window is not None
    assert digest(shipped.tree()) == digest(read.tree())
    assert read.window.time_ms_BW.tolist() == batch.window.time_ms_BW.tolist()
    kept_BW = np.exp(-read.window.age_s_BW / np.maximum(read.window.strength_s_BW, 1.0))
    real_BW = np.arange(3) < read.window.length_B[:, np.newaxis]
    np.testing.assert_allclose(kept_BW[real_BW], read.window.retention_BW[real_BW], rtol=1e-5)


def test_what_is_no_such_message_is_refused() -> None:
    [(_, value)] = example_wire.encode(drawn(1, 8, 4), np.zeros(8, np.int64), {}, MADE_BY)
    other = pa.BufferOutputStream()
    table = pa.table({"user": [1, 2]})
    with pa.ipc.new_stream(other, table.schema) as writer:
        writer.write_table(table)
    for wrong in (b"", b"nothing", value[:-200], value[: len(value) // 2], other.getvalue().to_pybytes()):
        with pytest.raises(InputError, match="examples: expected"):
            example_wire.decode(wrong)
    with pytest.raises(InputError, match="expected the schema"):
        example_wire.decode(value.replace(b"examples+arrow/3", b"examples+arrow/9"))
