"""A state on its way from one engine to another: the same bytes, or a line that says why not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.progress import Progress
from streams.engines.keyed import Keyed
from streams.engines.moved import Moved, check, exported
from streams.engines.partition import ENGINE, Engine
from streams.join.impressions import JoinConfig
from streams.kafka.place import Span
from streams.records import folder
from streams.records.folder import Kept
from streams.records.packs import Packs
from streams.records.sealed import opened_all, sealed
from streams.wire.message import Message
from tests.streams.doors import Map
from tests.streams.engines.test_engine import HOUR_MS, NOW_MS, event, together
from tests.streams.engines.test_keyed import EVENTS, fresh, sent
from tests.streams.kept import Kept as Changelog
from tests.streams.kept import merge

JOIN = {"join": JoinConfig(window_ms=HOUR_MS)}


def shown() -> list[Message]:
    """Impressions, of which some are clicked, under ids that are texts."""
    some = [event(n, NOW_MS + n, user=f"u{n % 7}", label=None, event_id=f"e{n}") for n in range(EVENTS // 2)]
    clicks = [event(EVENTS // 2 + n, NOW_MS + 99, event_id=f"e{n * 3}") for n in range(EVENTS // 6)]
    return [*some, *clicks]


def files(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def moved(path: Path, engine: Engine, records: dict[bytes, bytes]) -> dict[str, bytes]:
    """What is written of a state, and written again of what was read: the same files."""
    folder.write(path / "out", Kept("events", 0, records), engine.progress.events)
    [found] = exported(path / "out")
    assert (found.kept.records, found.progress) == (records, engine.progress)
    folder.write(path / "again", found.kept, found.progress.events)
    assert files(path / "again") == files(path / "out")
    return files(path / "out")


@settings(max_examples=30)
@given(
    joins=st.booleans(),
    ends=st.integers(1, EVENTS // 2),
    saves=st.sets(st.integers(1, EVENTS)),
    settled=st.sets(st.integers(1, EVENTS)),
)
def test_a_state_is_the_same_bytes_out_of_either_engine(
    joins: bool,
    ends: int,
    saves: set[int],
    settled: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A changelog into a map of Flink's engine, which goes on in it, and back into a changelog."""
    messages, config = (shown(), JOIN) if joins else (sent(), {})
    here, changelog = fresh(**config), Changelog()
    for n, message in enumerate(messages[:ends]):
        here.take([message])
        if n in saves or n == ends - 1:
            merge(changelog, here.records())
    path = tmp_path_factory.mktemp("moved")
    out = moved(path, here, dict(changelog))
    there = Map()
    Packs(there).write(changelog)
    held = Keyed(fresh(**config), there)
    held.settle()
    assert moved(path / "flink", here, Packs.of(there)[1]) == out
    wanted = together([here.take(messages[ends:])])
    outputs = []
    for message in messages[ends:]:
        outputs.append(held.engine.take([message]))
        if message.offset in settled:
            held.settle()
    assert together(outputs) == wanted
    held.settle()
    back = fresh(**config)
    back.restore(Packs.of(there)[1])
    assert [*back.operator.tree()] == [*here.operator.tree()]


def kept(engine: Engine) -> dict[bytes, bytes]:
    return {key: value for key, value in engine.records().items() if value is not None}


def test_a_state_of_an_earlier_version_is_todays_afterwards(tmp_path: Path) -> None:
    """Before anybody expired, how many had was not said."""
    engine = fresh()
    engine.take(sent())
    today = kept(engine)
    words_W, _ = opened_all([b"operator"], [today[b"operator"]])
    earlier = {**today, b"operator": sealed(b"operator", words_W[1:-1])}
    folder.write(tmp_path, Kept("events", 0, earlier), 1)
    [found] = exported(tmp_path)
    assert found.kept.records == today


def refusal(path: Path, records: dict[bytes, bytes]) -> str:
    folder.write(path, Kept("events", 0, records), 1)
    with pytest.raises(InputError) as refused:
        list(exported(path))
    return str(refused.value)


def test_a_state_of_another_version_or_a_damaged_one_is_refused_in_a_line(tmp_path: Path) -> None:
    engine = fresh()
    engine.take(sent())
    records = kept(engine)
    newer = bytes([2]) + records[b"operator"][1:]
    said = refusal(tmp_path / "newer", {**records, b"operator": newer})
    assert said.startswith(
        "state record operator: expected format 1, got 2; it was written by another version"
    )
    said = refusal(tmp_path / "cut", {key: value for key, value in records.items() if key != ENGINE})
    assert said.endswith("an import was cut off; `ebbtide state import` it again")
    some = next(key for key in records if key.startswith(b"user/"))
    assert "records: expected those of" in refusal(
        tmp_path / "less", {key: value for key, value in records.items() if key != some}
    )
    folder.write(tmp_path / "flipped", Kept("events", 0, records), 1)
    [path] = (tmp_path / "flipped").rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"partition-0: expected a state that is whole; export it again"):
        list(exported(tmp_path / "flipped"))
    with pytest.raises(InputError, match=r"expected a folder of `ebbtide state export`, got none"):
        list(exported(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("events", "span", "committed", "said"),
    [
        ("clicks", Span("one", 0, 9), 5, r"events/0: expected a state of the topic 'clicks'"),
        ("events", None, 5, r"events/0: expected such a partition, as when the state was exported, got none"),
        ("events", Span("two", 0, 9), 5, r"events/0: the topic was made anew since"),
        ("events", Span("one", 0, 9), 4, r"the state is of offset 5, the examples have come to 4"),
    ],
)
def test_a_state_that_would_leave_a_gap_is_refused(
    events: str, span: Span | None, committed: int, said: str
) -> None:
    state = Moved(Kept("events", 0, {}), Progress(offset=5, topic_id="one"))
    check(state, "events", Span("one", 0, 9), Progress(offset=5))
    check(state, "events", Span(None, 0, 9), Progress(offset=7))
    with pytest.raises(InputError, match=said):
        check(state, events, span, Progress(offset=committed))


def test_records_of_no_and_of_many_bytes_are_kept(tmp_path: Path) -> None:
    records = {b"a": b"", b"": b"x" * 9, b"b": np.random.default_rng(1).bytes(1 << 20)}
    folder.write(tmp_path, Kept("events", 3, records), 1)
    assert folder.read(tmp_path, 3) == Kept("events", 3, records)
    assert folder.partitions(tmp_path) == [3]
