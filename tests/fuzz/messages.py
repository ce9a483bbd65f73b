"""Spoilt messages, to the engine and a small trainer: each is an event or a dead letter, however cut."""

import json
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import numpy as np

from ebbtide.config import RunConfig
from ebbtide.live.arriving.intake import Intake, arrival
from ebbtide.live.arriving.side_tables import SideTables
from ebbtide.live.arriving.stream_facts import look
from ebbtide.running.learning import Learning
from state import example_wire
from state.examples import ExampleBatch, concat
from state.keys import Names
from state.memory.mask import select
from state.tree import digest
from streams.engines.engine_config import EngineConfig
from streams.engines.partition import Engine
from streams.join.impressions import JoinConfig
from streams.operator import OperatorConfig
from streams.wire.message import HEADER, Message
from tests.fuzz import framing, through
from tests.fuzz.table import START
from tests.fuzz.values import CELLS, LITTER, one_of

WINDOW = 128
BEGUN_MS = round(START.timestamp() * 1000)
FIELDS = (
    *(
        "user",
        "item",
        "time",
        "label",
        "rating",
        "action",
        "category",
        "lat",
        "lon",
        "place",
        "tz",
        "session",
    ),
    *("scene", "source", "propensity", "text", "event_id", "lable", "", "a\x1b[31m", "x" * 3000, "key"),
)
"""Roles, and what is none."""
KEYS = (None, b"", b"7", b"\xff\xfe", b"x" * 5000)
HEADERS: tuple[list[tuple[str, bytes | None]], ...] = (
    [],
    [("trace", None)],
    [("trace", b"\xff")],
    [(HEADER, None)],
    [(HEADER, b"event+json/1")],
    [(HEADER, b"event+arrow/1")],
    [(HEADER, b"event+json/2")],
    [(HEADER, b"\xff\xfe\x1b[31m")],
    [(HEADER, b"event+json/1"), (HEADER, b"event+arrow/1")],
)
AHEAD_MS = (
    0,
    0,
    0,
    1000,
    -3_600_000,
    7_200_000,
    86_400_000 * 400,
    86_400_000 * 365 * 75,
    -86_400_000 * 365 * 40,
)
"""By how much the clock of a sender differs from the broker's."""
Unit = Literal["ms", "s", "us", "iso", "float"]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One message, made of an event or of several."""

    user: int
    item: int
    after_s: int
    """Since the message before."""
    label: float | None = None
    rows: int = 0
    """0 for JSON, else the rows of an Arrow batch."""
    unit: Unit = "ms"
    ahead: int = 0
    """Among AHEAD_MS."""
    fields: tuple[tuple[int, int], ...] = ()
    """Fields that become others: (among FIELDS, among CELLS)."""
    frame: int = 0
    """Among `framing.FRAMES`."""
    key: int = 2
    headers: int = 0
    spoilt: tuple[tuple[float, int, int], ...] = ()
    """(share of the bytes before, bytes cut, among LITTER)."""
    gap: int = 0
    """Offsets that are skipped before it."""


class MessageCase(msgspec.Struct, frozen=True, tag="message"):
    """What one partition has, and where it is cut."""

    messages: tuple[Sent, ...]
    cut: int
    window_ms: int = 0
    delay_ms: int = 0
    learner: str = "twotower"

    def check(self, folder: Path) -> None:
        config = EngineConfig(
            operator=OperatorConfig(label_delay_ms=self.delay_ms),
            join=JoinConfig(window_ms=self.window_ms),
            window=WINDOW,
        )
        messages = self.made()
        whole = Engine(config, "events", 0)
        out = whole.take(messages)
        self._check_counts(whole, messages)
        values, dead = self._in_pieces(config, messages)
        assert dead == out.dead, "dead letters depend on the cut"
        wanted, found = (_examples(some) for some in (out.examples, values))
        assert digest(wanted.tree()) == digest(found.tree()), "examples depend on the cut"
        self._check_letters(out.dead)
        if len(wanted):
            self._learn(out.examples)

    def made(self) -> list[Message]:
        at_s, offset, made = 0, 0, []
        for i, one in enumerate(self.messages):
            at_s += one.after_s
            offset += 1 + one.gap
            now_ms = BEGUN_MS + at_s * 1000
            made.append(
                Message(value(one, now_ms, i), KEYS[one.key], HEADERS[one.headers], 0, offset, now_ms)  # type: ignore[arg-type]
            )
        return made

    def _check_counts(self, engine: Engine, messages: list[Message]) -> None:
        said = engine.progress
        assert said.offset == messages[-1].offset
        dead = sum(said.dead_letters.values())
        waiting = said.events - said.examples - said.duplicates - said.late - dead
        most = len(messages) if self.window_ms else 0
        assert 0 <= waiting <= most, f"{said}: {waiting} events are nowhere"

    def _in_pieces(self, config: EngineConfig, messages: list[Message]) -> tuple[list[bytes], list[Message]]:
        """Two calls, another process between them, which is sent some of the first again."""
        engine = Engine(config, "events", 0)
        first = engine.take(messages[: self.cut])
        other = Engine(config, "events", 0)
        other.restore({key: value for key, value in engine.records().items() if value is not None})
        rest = other.take(messages[max(0, self.cut - 2) :])
        return [*first.examples, *rest.examples], [*first.dead, *rest.dead]

    def _check_letters(self, dead: list[Message]) -> None:
        """A letter says why, and where it came from, in headers of bounded size."""
        for letter in dead:
            said = dict(letter.headers)
            assert {"reason", "detail", "source"} <= {name.removeprefix("ebbtide-") for name in said}, said
            for content in said.values():
                assert len(content or b"") <= 2000, f"a header of {len(content)} bytes"

    def _learn(self, values: list[bytes]) -> None:
        shipments = [example_wire.decode(one) for one in values]
        first = concat([one.batch for one in shipments])
        name = "twotower" if np.isnan(first.label_B).mean() > 0.5 else self.learner
        run = RunConfig(learner=name, floors=name == "stim", drift=False)
        stream = look(first, run, shipments[0].made_by)
        names = Names()
        learning = Learning(stream.subject(SideTables(names=names)), run, through.Checked())
        intake = Intake("examples", stream, names, select(WINDOW))
        for offset, one in enumerate(values):
            group = intake.take([arrival(Message(one, None, (), 0, offset))])
            if group is not None:
                for start in range(0, len(group.batch), 32):
                    through.step(learning, group.batch.take(slice(start, start + 32)))
        assert intake.unreadable == 0
        through.finish(learning)


def _examples(values: list[bytes]) -> ExampleBatch:
    return concat([example_wire.decode(one).batch for one in values])


def value(one: Sent, now_ms: int, number: int) -> bytes | None:
    """The bytes of a message."""
    moment_ms = now_ms + AHEAD_MS[one.ahead]
    events = []
    for row in range(max(one.rows, 1)):
        event: dict[str, object] = {
            "user": one.user,
            "item": one.item + row,
            "time": _time(moment_ms + row, one.unit),
        }
        if one.label is not None:
            event["label"] = one.label
        event |= {FIELDS[field]: CELLS[cell] for field, cell in one.fields}
        events.append(event)
    made = framing.arrow(events) if one.rows else json.dumps(events[0]).encode()
    content = framing.FRAMES[one.frame](made, number)
    if content is None:
        return None
    for share, cut, litter in one.spoilt:
        at = int(len(content) * share)
        content = content[:at] + LITTER[litter] + content[at + cut :]
    return content


def _time(moment_ms: int, unit: Unit) -> object:
    match unit:
        case "s":
            return moment_ms // 1000
        case "us":
            return moment_ms * 1000
        case "iso":
            return str(np.datetime64(moment_ms, "ms")) + "Z"
        case "float":
            return moment_ms + 0.5
    return moment_ms


def draw(rng: Random) -> MessageCase:
    """A partition; most of its messages are good."""
    share = rng.choice((0.0, 0.1, 0.5))
    messages = tuple(_sent(rng, share) for _ in range(rng.randrange(1, 50)))
    return MessageCase(
        messages,
        cut=rng.randrange(1, 50),
        window_ms=rng.choice((0, 0, 0, 60_000)),
        delay_ms=rng.choice((0, 0, 1000, 86_400_000)),
        learner=rng.choice(("twotower", "twotower", "twotower", "gaussian", "stim")),
    )


def _sent(rng: Random, share: float) -> Sent:
    def spoilt(likely: float) -> bool:
        return rng.random() < share * likely

    return Sent(
        user=rng.randrange(4),
        item=rng.randrange(6),
        after_s=rng.choice((0, 1, 60, 3600, 86_400)),
        label=rng.choice((None, 0, 1, 1)),
        rows=rng.choice((1, 3)) if rng.random() < 0.2 else 0,
        unit=rng.choice(("s", "us", "iso", "float")) if spoilt(0.3) else "ms",
        ahead=rng.randrange(len(AHEAD_MS)) if spoilt(0.4) else 0,
        fields=tuple((one_of(rng, FIELDS), one_of(rng, CELLS)) for _ in range(rng.randrange(1, 3)))
        if spoilt(0.5)
        else (),
        frame=rng.randrange(len(framing.FRAMES)) if spoilt(0.3) else 0,
        key=rng.randrange(len(KEYS)) if spoilt(0.1) else 2,
        headers=rng.randrange(len(HEADERS)) if spoilt(0.2) else 0,
        spoilt=tuple(
            (round(rng.random(), 3), rng.choice((0, 1, 4, 300)), one_of(rng, LITTER)) for _ in range(2)
        )
        if spoilt(0.3)
        else (),
        gap=rng.choice((1, 1000)) if spoilt(0.1) else 0,
    )
