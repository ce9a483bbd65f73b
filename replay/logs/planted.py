"""A log with known truth: who does what, when and where, and what is going to change.

Users have habits (the same item at the same hour, on weekdays or at weekends, in the same place) and an
interest in a topic that fades, returns every few weeks, and for some moves to another topic at a known time.
Items appear over time. Events reach the file in order of arrival, some late. Labels, if wanted, are drawn
with a known probability.

Shape suffixes: E events in file order, U users, H habits a user, N items.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from replay.logs.log_files import LogFiles
from replay.reading.tables import MemoryFile
from state.errors import InputError
from state.examples import Doubles
from state.keys import Int64s

PLANTED = "planted"
START_MS = 1_704_067_200_000
"""Monday, 1 January 2024, 00:00 UTC."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TZ_MIN = 60
HABITS = 3
TOPICS = 8
_DAYS_A_WEEK, _WORKDAYS = 7, 5
_HABIT_SD_H = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedOptions:
    """How big, and how hard."""

    users: int = 200
    items: int = 400
    events: int = 20_000
    days: int = 84
    places: int = 30
    seed: int = 0
    habit: float = 0.5
    """Share of events out of habit."""
    cold: float = 0.4
    """Share of the items that are not there from the start."""
    drift: float = 0.5
    """When, as a part of the span, half of the users take to another topic."""
    late: float = 0.02
    """Share of events that arrive up to two hours late."""
    labels: bool = True

    @classmethod
    def of(cls, text: str) -> "PlantedOptions":
        """From `users=200,events=20000,seed=3`. Raises InputError.

        >>> PlantedOptions.of("users=7,labels=0").labels
        False
        """
        kinds: dict[str, Any] = {f.name: type(f.default) for f in fields(cls)}
        values: dict[str, Any] = {}
        for pair in filter(None, text.split(",")):
            name, _, value = pair.partition("=")
            try:
                values[name] = bool(int(value)) if kinds[name] is bool else kinds[name](value)
            except (KeyError, ValueError) as error:
                raise InputError(
                    f"{PLANTED}:{pair}: expected NAME=NUMBER with one of {', '.join(kinds)}"
                ) from error
        options = cls(**values)
        if min(options.users, options.items, options.events, options.days, options.places) < 1:
            raise InputError(f"{PLANTED}:{text}: expected at least one of everything")
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the log was made from."""

    drift_ms: int
    drifts_U: NDArray[np.bool_]
    topic_U: Int64s
    """Before the drift."""
    new_topic_U: Int64s
    """After it; the same for users who stay."""
    fade_ms: int
    """The interest of a user has strength exp(-(time since its last return) / fade_ms)."""
    return_ms: int
    """How often it returns."""
    phase_ms_U: Int64s
    habit_item_UH: Int64s
    habit_hour_UH: Doubles
    """Local hour of day."""
    habit_place_UH: Int64s
    habit_weekend_UH: NDArray[np.bool_]
    topic_N: Int64s
    born_ms_N: Int64s
    user_E: Int64s
    item_E: Int64s
    habit_E: Int64s
    """Which habit the event is of, -1 for none."""
    of_interest_E: NDArray[np.bool_]
    time_ms_E: Int64s
    arrival_ms_E: Int64s
    probability_E: Doubles
    """Of a positive label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """The log as tables, and its truth."""

    events: pa.Table
    items: pa.Table
    users: pa.Table
    truth: Truth


def plant(options: PlantedOptions | None = None) -> Planted:
    """A planted log; the same options give the same log."""
    o = options or PlantedOptions()
    rng = np.random.default_rng(o.seed)
    span_ms = o.days * DAY_MS
    topic_N = rng.integers(TOPICS, size=o.items)
    cold_N = rng.random(o.items) < o.cold
    cold_N[rng.permutation(o.items)[: TOPICS + 1]] = False
    born_ms_N = START_MS + np.where(cold_N, rng.random(o.items) * 0.8 * span_ms, 0).astype(np.int64)
    topic_U = rng.integers(TOPICS, size=o.users)
    drifts_U = rng.random(o.users) < 0.5
    new_topic_U = np.where(drifts_U, (topic_U + rng.integers(1, TOPICS, size=o.users)) % TOPICS, topic_U)
    drift_ms = START_MS + int(o.drift * span_ms)
    fade_ms, return_ms = 7 * DAY_MS, 28 * DAY_MS
    phase_ms_U = rng.integers(return_ms, size=o.users)
    shape = (o.users, HABITS)
    habit_weekend_UH = rng.random(shape) < 2 / _DAYS_A_WEEK
    habit_hour_UH = rng.integers(14, 46, size=shape) / 2.0
    habit_place_UH = rng.integers(o.places, size=shape)
    habit_item_UH = rng.choice(np.flatnonzero(~cold_N), size=shape)

    user_E = (o.users * rng.random(o.events) ** 1.5).astype(np.int64)
    habit_E = np.where(rng.random(o.events) < o.habit, rng.integers(HABITS, size=o.events), -1)
    by_habit_E = habit_E >= 0
    weekend_E, hour_E = habit_weekend_UH[user_E, habit_E], habit_hour_UH[user_E, habit_E]
    local_h_E = np.where(
        by_habit_E,
        hour_E + _HABIT_SD_H * np.clip(rng.standard_normal(o.events), -3, 3),
        7 + 16 * rng.beta(2, 2, o.events),
    )
    day_E = rng.integers(o.days, size=o.events)
    day_E = np.where(by_habit_E & ((day_E % 7 >= _WORKDAYS) != weekend_E), _moved(day_E, weekend_E), day_E)
    time_ms_E = START_MS + day_E * DAY_MS + ((local_h_E - TZ_MIN / 60) * HOUR_MS).astype(np.int64)

    since_return_E = (time_ms_E - START_MS + phase_ms_U[user_E]) % return_ms
    of_interest_E = ~by_habit_E & (rng.random(o.events) < np.exp(-since_return_E / fade_ms))
    own_topic_E = np.where(time_ms_E >= drift_ms, new_topic_U[user_E], topic_U[user_E])
    wanted_E = np.where(of_interest_E, own_topic_E, rng.integers(TOPICS, size=o.events))
    drawn_E = _items(rng, wanted_E, time_ms_E, topic_N, born_ms_N)
    item_E = np.where(by_habit_E, habit_item_UH[user_E, habit_E], drawn_E)
    quality_N = rng.normal(0, 0.7, o.items)
    liked_E = by_habit_E | (topic_N[item_E] == own_topic_E)
    probability_E = 1 / (1 + np.exp(-(-1.0 + 2.0 * liked_E + quality_N[item_E])))
    label_E = (rng.random(o.events) < probability_E).astype(np.int64)
    place_E = np.where(by_habit_E, habit_place_UH[user_E, habit_E], rng.integers(o.places, size=o.events))
    late_E = rng.random(o.events) < o.late
    arrival_ms_E = time_ms_E + np.where(late_E, rng.integers(60_000, 2 * HOUR_MS, size=o.events), 0)
    lat_P, lon_P = 48.0 + rng.random(o.places) * 0.2, 2.2 + rng.random(o.places) * 0.3

    order = np.argsort(arrival_ms_E, kind="stable")
    columns: dict[str, Any] = {
        "user_id": _named("u", user_E),
        "item_id": _named("i", item_E),
        "timestamp": time_ms_E,
        "place_id": _named("p", place_E),
        "lat": lat_P[place_E],
        "lon": lon_P[place_E],
        "tz_offset_min": np.full(o.events, TZ_MIN),
        "session_id": user_E * 100_000 + day_E,
    } | ({"label": label_E} if o.labels else {})
    table = pa.table({name: pa.array(column).take(pa.array(order)) for name, column in columns.items()})
    ids = np.arange(o.events)
    return Planted(
        events=table.append_column("event_id", pa.array(_named("e", ids))),
        items=_item_table(topic_N, quality_N),
        users=pa.table({"user_id": _named("u", np.arange(o.users)), "group": _named("g", topic_U % 3)}),
        truth=Truth(
            drift_ms=drift_ms,
            drifts_U=drifts_U,
            topic_U=topic_U,
            new_topic_U=new_topic_U,
            fade_ms=fade_ms,
            return_ms=return_ms,
            phase_ms_U=phase_ms_U,
            habit_item_UH=habit_item_UH,
            habit_hour_UH=habit_hour_UH,
            habit_place_UH=habit_place_UH,
            habit_weekend_UH=habit_weekend_UH,
            topic_N=topic_N,
            born_ms_N=born_ms_N,
            user_E=user_E[order],
            item_E=item_E[order],
            habit_E=habit_E[order],
            of_interest_E=of_interest_E[order],
            time_ms_E=time_ms_E[order],
            arrival_ms_E=arrival_ms_E[order],
            probability_E=probability_E[order],
        ),
    )


def open_planted(name: str) -> LogFiles:
    """The log `planted` or `planted:users=200,events=20000,seed=3`. Raises InputError."""
    made = plant(PlantedOptions.of(name.partition(":")[2]))
    return LogFiles(
        name=name,
        events=(MemoryFile(name, made.events),),
        items=(MemoryFile(f"{name} items", made.items),),
        users=(MemoryFile(f"{name} users", made.users),),
        item_types={"title": "text"},
    )


def _moved(day_E: Int64s, weekend_E: NDArray[np.bool_]) -> Int64s:
    """A day of the same week that is a weekday, or of the weekend."""
    monday_E = day_E - day_E % _DAYS_A_WEEK
    return monday_E + np.where(weekend_E, _WORKDAYS + day_E % 2, day_E % _WORKDAYS)


def _items(
    rng: np.random.Generator, topic_E: Int64s, time_ms_E: Int64s, topic_N: Int64s, born_ms_N: Int64s
) -> Int64s:
    """An item of each topic that is there by then: earlier ones are more popular. Any item, if none is."""
    draw_E = rng.random(len(topic_E)) ** 2.0
    item_E = np.zeros(len(topic_E), np.int64)
    for topic in range(TOPICS):
        at = np.flatnonzero(topic_E == topic)
        pool = np.flatnonzero(topic_N == topic)
        if len(pool) == 0 or born_ms_N[pool].min() > START_MS:
            pool = np.arange(len(topic_N))
        pool = pool[np.argsort(born_ms_N[pool], kind="stable")]
        there = np.searchsorted(born_ms_N[pool], time_ms_E[at], "right")
        item_E[at] = pool[(draw_E[at] * np.maximum(there, 1)).astype(np.int64)]
    return item_E


def _item_table(topic_N: Int64s, quality_N: Doubles) -> pa.Table:
    size = len(topic_N)
    tags = [f"tag{topic % 4}|tag{4 + n % 3}" for n, topic in enumerate(topic_N.tolist())]
    return pa.table(
        {
            "item_id": _named("i", np.arange(size)),
            "category": _named("topic", topic_N),
            "tags": tags,
            "price": np.round(10 * np.exp(quality_N), 2),
            "title": [f"Title number {n} of topic {topic}" for n, topic in enumerate(topic_N.tolist())],
        }
    )


def _named(letter: str, numbers_E: Int64s) -> list[str]:
    return [f"{letter}{number}" for number in numbers_E.tolist()]
