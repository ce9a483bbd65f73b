"""The operator as one would write it on a blackboard: dictionaries, lists, one event at a time."""

import math
from dataclasses import dataclass, field

import numpy as np

from state.examples import BANK_S, USER_RATES
from state.keys import NO_KEY
from state.places import closeness
from streams.operator import OperatorConfig


@dataclass
class Request:
    """Where an event was asked for, as far as that is known."""

    place: int
    tz_min: int


@dataclass
class Entry:
    time_ms: int
    item: int
    category: int
    place: int
    known_ms: int
    label: float
    minute: int
    tz_min: int
    last_ms: int
    pace: float


@dataclass
class User:
    entries: list[Entry] = field(default_factory=list)
    known: list[tuple[int, float]] = field(default_factory=list)
    """Time and worth of every known event: the rates replay all of them."""


@dataclass
class Event:
    user: int
    item: int
    time_ms: int
    label: float
    category: int
    place: int
    tz_min: int
    event_id: int
    log_tz_min: int
    """What the log says of local time; `tz_min` may be by the longitude."""


@dataclass
class Row:
    event: Event
    known_ms: int
    request: Request
    rates: dict[str, float]
    window: list[dict[str, float]]
    totals: dict[int, list[float]]


class Reference:
    def __init__(self, config: OperatorConfig, window: int, newest: int) -> None:
        self.config, self.window, self.newest = config, window, newest
        self.memory = config.memory
        self.users: dict[int, User] = {}
        self.waiting: list[tuple[Event, int]] = []
        self.ids: set[int] = set()
        self.old_ids: set[int] = set()
        self.since_ms = 0
        self.silent: dict[int, int] = {}
        """User -> when the last event becomes known, the longest silent first."""
        self.expired = 0
        self.clock_ms: int | None = None
        self.duplicates = self.late = 0

    def process(self, event: Event) -> Row | None:
        if event.event_id != NO_KEY and self.seen(event.event_id):
            self.duplicates += 1
            return None
        if self.clock_ms is not None and self.clock_ms - event.time_ms > self.config.lateness_ms:
            self.late += 1
            return None
        self.clock_ms = event.time_ms if self.clock_ms is None else max(self.clock_ms, event.time_ms)
        if event.event_id != NO_KEY:
            self.since_ms = self.since_ms if self.ids else self.clock_ms
            self.ids.add(event.event_id)
        while self.waiting and self.waiting[0][1] <= self.clock_ms:
            self.know(*self.waiting.pop(0))
        known_ms = self.clock_ms + self.config.label_delay_ms
        self.forget(event.user, known_ms)
        user = self.users.setdefault(event.user, User())
        request = self.request(user, event)
        rates, window = self.rates(user, event), self.chosen(user, event, request)
        row = Row(event, known_ms, request, rates, window, self.totals)
        if not math.isnan(event.label):
            self.remember(user, event, known_ms)
        self.waiting.append((event, known_ms))
        return row

    def forget(self, user: int, known_ms: int) -> None:
        """Who has expired: the user, if so, and at most two of the others."""
        expire_ms, most = self.memory.expire_ms or math.inf, self.memory.most_users or math.inf
        if self.clock() - self.silent.pop(user, self.clock()) > expire_ms:
            del self.users[user]
            self.expired += 1
        self.silent[user] = known_ms
        for other, last_ms in list(self.silent.items())[:2]:
            old = self.clock() - last_ms > expire_ms
            crowded = len(self.silent) > most and last_ms <= self.clock()
            if other == user or not (old or crowded):
                return
            del self.users[other], self.silent[other]
            self.expired += 1

    def seen(self, event_id: int) -> bool:
        """Whether the id is one of the last two generations', a new one begun if it is time."""
        old = self.clock_ms is not None and self.clock_ms - self.since_ms > self.config.lateness_ms
        if self.ids and (old or len(self.ids) >= self.config.event_ids):
            self.ids, self.old_ids = set(), self.ids
        return event_id in self.ids | self.old_ids

    def know(self, event: Event, known_ms: int) -> None:
        user = self.users[event.user]
        user.known.append((event.time_ms, 1.0 if math.isnan(event.label) else event.label))
        if math.isnan(event.label):
            self.remember(user, event, known_ms)

    def remember(self, user: User, event: Event, known_ms: int) -> None:
        full = len(user.entries) == self.memory.capacity
        if full and event.time_ms < user.entries[0].time_ms:
            return
        last_ms, pace = event.time_ms, 1.0 / (self.memory.strength_s * 1000)
        same = [e for e in user.entries if e.item == event.item]
        if same:
            strength = 1.0 / same[0].pace
            retained = math.exp(-max(event.time_ms - same[0].last_ms, 0) / strength)
            strength *= 1.0 + self.memory.gain * (1.0 - retained)
            pace = 1.0 / min(self.memory.strength_cap_s * 1000, strength)
            last_ms = max(event.time_ms, same[0].last_ms)
        for entry in same:
            entry.last_ms, entry.pace = last_ms, pace
        new = Entry(
            event.time_ms,
            event.item,
            event.category,
            event.place,
            known_ms,
            event.label,
            minute(event.time_ms, event.tz_min),
            event.tz_min,
            last_ms,
            pace,
        )
        user.entries.append(new)
        user.entries.sort(key=lambda e: e.time_ms)
        if full:
            del user.entries[0]

    def rates(self, user: User, event: Event) -> dict[str, float]:
        now = event.time_ms
        of = dict.fromkeys(USER_RATES, 0.0)
        of["count"] = len(user.known)
        of["positives"] = sum(worth for _, worth in user.known)
        latest = max((time for time, _ in user.known), default=now)
        of["gap_s"] = max(now - latest, 0) / 1000 if user.known else -1.0
        for name, constant_s in zip(("1h", "1d", "7d", "30d"), BANK_S, strict=True):
            for time, worth in user.known:
                fade = math.exp(-(max(now, latest) - time) / 1000 / constant_s)
                of[f"count_{name}"] += fade
                of[f"positives_{name}"] += fade * worth
        for entry in user.entries:
            if entry.known_ms <= self.clock():
                fade = math.exp(-max(now - entry.time_ms, 0) / 1000 / BANK_S[3])
                worth = 1.0 if math.isnan(entry.label) else entry.label
                if entry.item == event.item:
                    of["item_count"] += fade
                    of["item_positives"] += fade * worth
                if entry.category == event.category != NO_KEY:
                    of["category_count"] += fade
                    of["category_positives"] += fade * worth
        return of

    def clock(self) -> int:
        assert self.clock_ms is not None
        return self.clock_ms

    def request(self, user: User, event: Event) -> Request:
        if self.config.own_place:
            return Request(event.place, event.tz_min)
        last = next((e for e in reversed(user.entries) if e.place != NO_KEY), None)
        if last is None:
            return Request(NO_KEY, event.log_tz_min)
        return Request(last.place, last.tz_min if self.config.solar_time else event.log_tz_min)

    def chosen(self, user: User, event: Event, request: Request) -> list[dict[str, float]]:
        horizon_s = self.memory.horizon_s
        alive = [
            e for e in user.entries if horizon_s is None or event.time_ms - e.time_ms <= horizon_s * 1000
        ]
        recent = alive[max(len(alive) - min(self.newest, self.window), 0) :]
        others = alive[: len(alive) - len(recent)]
        newest_first = others[::-1]
        ranked = sorted(newest_first, key=lambda e: -self.weight(e, event, request))
        best = ranked[: self.window - min(self.newest, self.window)]
        chosen = {id(e) for e in [*best, *recent]}
        self.totals = self.totalled(user, alive, event)
        return [self.shown(user, e, event, request) for e in alive if id(e) in chosen]

    def totalled(self, user: User, alive: list[Entry], event: Event) -> dict[int, list[float]]:
        """Items had again or long ago -> count, seconds since first and last, entries since, faded."""
        found: dict[int, list[float]] = {}
        counted = [e for e in alive if not (e.known_ms <= self.clock() and e.label <= 0.5)]
        for item in {e.item for e in counted}:
            of_item = [e for e in counted if e.item == item]
            ages_s = [max(event.time_ms - e.time_ms, 0) / 1000 for e in of_item]
            faded = sum(0.5 ** (age_s / (64 * 86_400)) for age_s in ages_s)
            since = len(user.entries) - 1 - [id(e) for e in user.entries].index(id(of_item[-1]))
            if len(of_item) > 1 or since >= 64:
                found[item] = [len(of_item), ages_s[0], ages_s[-1], since, faded]
        return found if self.window else {}

    def weight(self, entry: Entry, event: Event, request: Request) -> np.float32:
        """(age + 0.1 h)^-1/2 x (0.05 + hour + week), squared and in single precision, which makes ties."""
        now, kernels = minute(event.time_ms, request.tz_min), 1.0
        if self.memory.periodic:
            hour, week = (math.exp(self.log_kernel(*of, entry, now)) for of in ((24, 2.0), (168, 1.5)))
            kernels = 0.05 + hour + week
        return np.float32(kernels**2 / (max(event.time_ms - entry.time_ms, 0) + 360_000.0))

    def log_kernel(self, period_h: int, width_h: float, entry: Entry, now: int) -> float:
        apart = abs(now - entry.minute) % (period_h * 60)
        apart = min(apart, period_h * 60 - apart)
        s = 2 * math.pi * width_h / period_h
        return (math.cos(2 * math.pi * apart / (period_h * 60)) - 1) / s**2

    def shown(self, user: User, entry: Entry, event: Event, request: Request) -> dict[str, float]:
        now = minute(event.time_ms, request.tz_min)
        hour, week = (
            math.exp(self.log_kernel(period_h, width_h, entry, now)) if self.memory.periodic else 0.0
            for period_h, width_h in ((24, self.memory.hour_width_h), (168, self.memory.week_width_h))
        )
        at = [id(e) for e in user.entries].index(id(entry))
        before = user.entries[at - 1] if at else None
        return {
            "item": entry.item,
            "category": entry.category,
            "cell": entry.place,
            "age_s": max(event.time_ms - entry.time_ms, 0) / 1000,
            "retention": math.exp(-max(event.time_ms - entry.last_ms, 0) * entry.pace),
            "hour": hour,
            "week": week,
            "place": closeness(entry.place, request.place),
            "label": entry.label if entry.known_ms <= self.clock() else math.nan,
            "time_ms": entry.time_ms,
            "minute": entry.minute,
            "strength_s": 0.001 / entry.pace,
            "before": before.item if before else NO_KEY,
            "gap_s": (entry.time_ms - before.time_ms) / 1000 if before else 0.0,
        }


def minute(time_ms: int, tz_min: int) -> int:
    return (time_ms // 60_000 + tz_min) % (7 * 24 * 60)
