"""What a live trainer is made of, one part at a time: order, delivery, what a stream is like, figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.alone import alone
from ebbtide.config import RunConfig, StreamConfig
from ebbtide.live.arriving.intake import Arrival, Intake
from ebbtide.live.arriving.journal import Journal, Line
from ebbtide.live.arriving.side_tables import SideTables
from ebbtide.live.arriving.stream_facts import look
from ebbtide.live.delays import Delays
from ebbtide.live.recent_quality import Recent
from ebbtide.publishing.delivery import Delivery
from ebbtide.publishing.delta import Delta, from_tree, merged, to_tree
from ebbtide.publishing.mirror import Mirror
from learners.contract import Outcome, RankRequest
from learners.training.trainer import Scored
from state.errors import InputError
from state.example_wire import Shipment
from state.examples import ExampleBatch, concat
from state.keys import Int64s, Names
from state.memory.mask import select
from state.progress import trainer_status
from state.store.contract import KINDS, Gone, ItemRows, UserRows
from state.store.in_memory import DictStore
from state.store.records import MEMORY_ENTRY, TOTAL
from streams.wire.message import Message
from tests.ebbtide.commands.test_status import trainer as status
from tests.ebbtide.sent_examples import batches, made_by
from tests.patience import PATIENCE_S, until

LINES = [Line(10, [(0, 3)]), Line(25, [(0, 4), (1, 7)]), Line(30, [(1, 9)])]


def test_a_journal_is_followed_over_checkpoints(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(0)
    journal.write(LINES[0])
    journal.begin(10)
    journal.write(LINES[1])
    assert Journal(tmp_path).follow(0) == LINES[:2]
    again = Journal(tmp_path)
    assert again.follow(10) == LINES[1:2]
    again.write(LINES[2])
    assert Journal(tmp_path).follow(0) == LINES
    again.prune(10)
    assert [path.name for path in tmp_path.iterdir()] == ["journal-000000000010"]


def test_what_was_set_aside_is_a_line_in_the_place_of_another(tmp_path: Path) -> None:
    journal, aside = Journal(tmp_path), Line(25, [(0, 4)], "ZeroDivisionError: division by zero")
    journal.begin(0)
    journal.write(LINES[0])
    journal.begin(10)
    journal.write(LINES[1])
    journal.begin(25)
    journal.write(LINES[2])
    journal.cut(10)
    assert Journal(tmp_path).follow(0) == LINES[:1]
    journal.write(aside)
    assert Journal(tmp_path).follow(0) == [LINES[0], aside]
    assert Journal(tmp_path).follow(10) == [aside]
    journal.close()


def test_what_was_being_written_at_the_end_is_no_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(0)
    journal.write(LINES[0])
    path = tmp_path / "journal-000000000000"
    for torn in (b"[2", b"[25, [[0, 4]]]"):
        path.write_bytes(path.read_bytes() + torn)
        again = Journal(tmp_path)
        assert again.follow(0) == LINES[:1]
    again.write(LINES[1])
    assert Journal(tmp_path).follow(0) == LINES[:2]


def test_after_a_gap_nothing_is_followed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(0)
    journal.write(LINES[0])
    journal.begin(25)
    journal.write(LINES[2])
    assert Journal(tmp_path).follow(0) == LINES[:1]


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere")
    journal.begin(0)
    journal.write(LINES[0])
    assert journal.broken == "journal: No such file or directory"
    (tmp_path / "nowhere").mkdir()
    journal.begin(10)
    assert journal.broken is None


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    asked = (tmp_path, "--checkpoint", "trainer learns")
    with alone(*asked), pytest.raises(InputError, match="another trainer learns here"), alone(*asked):
        pass
    with alone(*asked):
        pass


def delta(user: str, time_ms: int) -> tuple[UserRows, ItemRows]:
    """One user and two items."""
    memory = np.zeros(time_ms % 3, MEMORY_ENTRY)
    users = UserRows(
        ids=[user],
        event_time_ms_B=np.array([time_ms]),
        interests_BKD=np.full((1, 1, 2), time_ms, np.float32),
        memory_B=[memory],
        totals_B=[np.zeros(time_ms % 2, TOTAL)],
    )
    items = ItemRows(
        ids=["a", user],
        event_time_ms_B=np.array([time_ms, time_ms]),
        vectors_BD=np.full((2, 2), time_ms, np.float32),
    )
    return users, items


def gone(version: int) -> int:
    raise InputError("gone")


def test_deltas_wait_for_the_store_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store, mirror = DictStore(), Mirror(tmp_path)
    store.advance(7)
    monkeypatch.setattr(store, "advance", gone)  # a server goes away in the middle of a delta
    delivery = Delivery(store, mirror)
    delivery.start()
    for n, user in enumerate(["u", "v", "u"]):
        delivery.learned(np.array([100 + n]))
        delivery.publish(0, *delta(user, n + 1))
    assert until(lambda: delivery.trouble) == "store: gone"
    delivery.close()
    later = Delivery(store, mirror)
    later.load(delivery.still()())
    monkeypatch.undo()
    later.publish(0, *delta("w", 9))
    later.start()
    assert later.drain(PATIENCE_S)
    later.close()
    assert store.version() == later.version == 9
    users = {name: store.user(name) for name in "uvw"}
    assert {name: one and one.event_time_ms for name, one in users.items()} == {"u": 3, "v": 2, "w": 9}
    assert users["v"] is not None
    assert (len(users["v"].memory), len(users["v"].totals)) == (2, 0)
    assert users["u"] is not None
    assert len(users["u"].totals) == 1
    item = store.item("a")
    assert item is not None
    assert item.vectors_KD.tolist() == [[9.0, 9.0]]
    (arrived,) = later.arrived()
    assert arrived.produced_ms_P.tolist() == [100, 101, 102]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("uvwx"), st.lists(st.sampled_from("auvwx"), max_size=3), st.integers(0, 9)),
        min_size=1,
        max_size=8,
    )
)
def test_deltas_as_one_leave_what_one_after_another_does(some: list[tuple[str, list[str], int]]) -> None:
    """Users and items that come, go and come again; saved on the way, too."""
    one_by_one, at_once, deltas = DictStore(), DictStore(), []
    for number, (user, going, before_ms) in enumerate(some):
        users, items = delta(user, number)
        gone = Gone(going, before_ms)
        made = Delta(
            users=replace(users, gone=gone),
            items=replace(items, gone=gone),
            produced_ms_P=np.zeros(0, np.int64),
            count_P=np.zeros(0, np.int64),
        )
        one_by_one.publish(1, made.users, made.items)
        deltas.append(from_tree(to_tree(made)))
    whole = merged([merged(deltas[:2]), *deltas[2:]])
    at_once.publish(1, whole.users, whole.items)
    for kind in KINDS:
        both = [
            {page.ids[b]: page.row(b) for page in store.pages(kind) for b in range(len(page))}
            for store in (one_by_one, at_once)
        ]
        assert both[0] == both[1]


def test_while_it_holds_nothing_is_published(tmp_path: Path) -> None:
    delivery = Delivery(DictStore(), Mirror(tmp_path))
    delivery.holding = True
    delivery.start()
    delivery.publish(0, *delta("u", 1))
    delivery.say(status(trouble="busy"))
    said = until(delivery.store.status)
    assert said is not None
    assert (delivery.store.version(), trainer_status(said).trouble) == (0, "busy")
    delivery.release()
    assert delivery.drain(PATIENCE_S)
    delivery.close()
    assert delivery.store.version() > 0


def first() -> ExampleBatch:
    return concat(batches(1, 50)[:30])


def test_a_stream_is_found_in_its_first_examples() -> None:
    stream = look(first(), RunConfig(), made_by())
    assert stream.labelled
    optional = {"category", "lat", "lon", "tz", "session", "label"}
    assert set(stream.roles) == {"user", "item", "time"} | optional
    assert stream.user_item_repeat is not None
    assert stream.user_item_repeat > 0.1
    subject = stream.subject(SideTables())
    assert {"clock"} <= subject.roles
    assert "here" not in subject.roles


def test_what_the_settings_say_of_a_stream_counts() -> None:
    said = RunConfig(stream=StreamConfig(name="shop", labelled=False, roles=["category"]))
    stream = look(first(), said, made_by())
    assert (stream.name, stream.labelled, stream.roles) == (
        "shop",
        False,
        ("category", "item", "time", "user"),
    )
    wrong = RunConfig(stream=StreamConfig(roles=["colour"]))
    with pytest.raises(InputError, match=r"\[stream\] roles: expected some of label, .*, got 'colour'"):
        look(first(), wrong, made_by())


def intake() -> Intake:
    return Intake("examples", look(first(), RunConfig(), made_by()), Names(), select(100))


def arrival(batch: ExampleBatch, partition: int = 0, offset: int = 0) -> Arrival:
    produced_ms_B: Int64s = np.zeros(len(batch), np.int64)
    return Arrival(at(partition, offset), Shipment(batch, produced_ms_B, {}, made_by()))


def at(partition: int, offset: int) -> Message:
    return Message(None, partition=partition, offset=offset)


def test_what_is_known_never_falls_over_partitions() -> None:
    taken = intake()
    parts = batches(2, 50)
    known_ms = []
    for offset, part in enumerate([parts[4], parts[1], parts[8], parts[3]]):
        group = taken.take([arrival(part, int(part.partition_B[0]), offset)])
        if group is not None:
            assert (group.batch.known_ms_B >= part.known_ms_B[-len(group.batch) :]).all()
            known_ms += group.batch.known_ms_B.tolist()
    assert known_ms == sorted(known_ms)


def test_an_example_without_a_label_is_left_out_of_a_stream_with_labels() -> None:
    taken, batch = intake(), batches(1, 50)[0]
    label_B = batch.label_B.copy()
    label_B[::2] = np.nan
    group = taken.take([arrival(replace(batch, label_B=label_B))])
    assert group is not None
    assert not np.isnan(group.batch.label_B).any()
    assert taken.unlabelled == 25


def test_examples_that_waited_for_feedback_are_not_taken_for_old_ones() -> None:
    joined = made_by(join={"window_ms": 1000})
    taken = Intake("examples", look(first(), RunConfig(), joined), Names(), select(100))
    one, other = batches(1, 50)[1], batches(1, 50)[0]
    for offset, batch in enumerate((one, other)):
        shipment = Shipment(batch, np.zeros(len(batch), np.int64), {}, joined)
        assert taken.take([Arrival(at(0, offset), shipment)]) is not None
    assert (taken.events, taken.duplicates) == (100, 0)


def test_an_intake_goes_on_after_a_checkpoint() -> None:
    one, other = intake(), intake()
    one.take([arrival(batches(1, 50)[0])])
    one.names.add("ann")
    other.load(one.tree())
    assert other.take([arrival(batches(1, 50)[0])]) is None
    assert (other.offsets, other.duplicates, other.events) == ({0: 1}, 50, 50)
    assert dict(other.names.items()) == dict(one.names.items())


def test_an_intake_goes_on_after_a_checkpoint_of_an_older_version() -> None:
    one, other = intake(), intake()
    one.take([arrival(batches(1, 50)[0])])
    newer = ("topic_id", "set_aside", "unlearned", "in_a_row")
    other.load({name: value for name, value in one.tree().items() if name not in newer})
    assert other.tree().keys() == one.tree().keys()
    assert (other.events, other.set_aside, other.topic_id) == (50, 0, "")


def test_quantiles_of_the_last_minute() -> None:
    delays = Delays()
    delays.add(np.array([10.0, 1000.0]), np.array([98, 2]), 1000.0)
    found = delays.recent(1000.0)
    assert 10 <= found["p50"] <= found["p95"] <= 10.5
    assert 1000 <= found["p99"] <= 1050
    delays.add(np.array([-5.0]), np.array([1]), 1059.5)
    assert delays.recent(1059.5)["p99"] >= 1000
    assert delays.recent(1061.0) == {"p50": 1.0, "p95": 1.0, "p99": 1.0}
    assert delays.recent(1200.0) == {}
    assert delays.total_D.sum() == 101


def said(batch: ExampleBatch, rows_R: Int64s, p_B: Int64s, rank_R: Int64s) -> Scored:
    nothing: Int64s = np.zeros(0, np.int64)
    request = RankRequest(rows_R, nothing, nothing, np.zeros(1, np.int64), nothing)
    return Scored(batch, request, {"m": Outcome(p_B / 1000.0, rank_R)})


def test_recent_figures_do_not_depend_on_the_batches() -> None:
    batch, random = first(), np.random.default_rng(0)
    label_B = (random.random(len(batch)) < 0.3).astype(np.float32)
    batch = replace(batch, label_B=label_B)
    p_B = np.clip((label_B * 200 + random.integers(1, 700, len(batch))), 1, 999).astype(np.int64)
    rank_B = random.integers(1, 30, len(batch))
    found = []
    for size in (1, 7, len(batch)):
        recent = Recent("m", "m")
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            part = batch.take(rows)
            recent.add(said(part, np.arange(len(part)), p_B[rows], rank_B[rows]))
            other = Recent("m", "m")
            other.load(recent.tree())
            recent = other
        found.append(recent.metrics())
    assert found[0] == pytest.approx(found[1])
    assert found[0] == pytest.approx(found[2])
    weight_B = np.exp(-np.arange(len(batch))[::-1] / 10_000.0)
    assert found[0]["recall@10"] == pytest.approx(np.average(rank_B <= 10, weights=weight_B), abs=1e-5)
    right_B = np.where(label_B > 0.5, p_B, 1000 - p_B) / 1000
    assert found[0]["log_loss"] == pytest.approx(np.average(-np.log(right_B), weights=weight_B), abs=1e-5)
    above = p_B[label_B > 0.5][:, np.newaxis] - p_B[label_B < 0.5]
    assert found[0]["auc"] == pytest.approx(np.mean((above > 0) + (above == 0) / 2), abs=0.02)
