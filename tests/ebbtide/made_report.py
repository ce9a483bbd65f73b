"""Reports of runs that never were."""

from collections.abc import Sequence

import msgspec
import numpy as np

from ebbtide.report.report import EventCounts, LogInfo, Report, RunFacts, build
from learners.insight import AGES_S, GateLedger, Insight, ReturnCurve, age_curves, kernel
from learners.judging.judge import Events, Speaker, judge
from state.drift_alarm import DriftAlarm, EmbeddingHealth, Foreseen
from state.examples import Floats
from state.memory.memory_config import MemoryConfig

DAY_MS = 86_400_000
SPEAKERS = (
    Speaker("gaussian", predicts=True, ranks=False, floor=False),
    Speaker("twotower", predicts=False, ranks=True, floor=False),
    Speaker("rates", predicts=True, ranks=False, floor=True),
    Speaker("popular", predicts=False, ranks=True, floor=True),
)
_NOISE = {"gaussian": 0.3, "rates": 1.5}
_DEPTH = {"twotower": 8.0, "popular": 40.0}


def facts(
    events: int = 4000,
    *,
    labelled: bool = True,
    speakers: Sequence[Speaker] = SPEAKERS,
    name: str = "planted",
    start_ms: int = 1_500_000_000_000,
    step_ms: int = 60_000,
    dead_letters: dict[str, int] | None = None,
    drift: Sequence[DriftAlarm] = (),
    embeddings: Sequence[EmbeddingHealth] = (),
    foreseen: Sequence[Foreseen] = (),
    notes: Sequence[str] = (),
    seconds: float = 0.5,
    insight: Insight | None = None,
) -> RunFacts:
    """What a run over `events` planted events knows at its end; models beat floors by construction."""
    random = np.random.default_rng(11)
    time_ms = start_ms + step_ms * np.arange(events)
    logit = random.normal(0, 1.5, events)
    label = (random.random(events) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    log = Events(
        time_ms_E=time_ms,
        user_E=(np.arange(events) % 60).astype(np.int32),
        users=60,
        label_E=label if labelled else np.full(events, np.nan, np.float32),
        cold_user_E=(np.arange(events) < 60).astype(np.uint8),
        cold_item_E=(random.random(events) < 0.1).astype(np.uint8),
    )

    def said(speaker: Speaker) -> tuple[Floats | None, np.ndarray | None]:
        noise = random.normal(0, _NOISE.get(speaker.name, 1.0), events)
        p_E = (1 / (1 + np.exp(-logit - noise))).astype(np.float32)
        rank_E = random.geometric(1 / _DEPTH.get(speaker.name, 1.0), events).astype(np.int32)
        return (p_E if speaker.predicts else None), (rank_E if speaker.ranks else None)

    dead = dead_letters or {}
    return RunFacts(
        log=LogInfo(
            name=name,
            start_ms=int(time_ms[0]) if events else None,
            end_ms=int(time_ms[-1]) if events else None,
            users=60,
            items=300,
            roles=["item", "time", "user"],
            labelled=labelled,
            leave_out="user",
            leave_out_reason="no user has an item twice",
            label_delay_ms=0,
        ),
        events=EventCounts(
            read=events + sum(dead.values()),
            used=events,
            dead_letters=sum(dead.values()),
            duplicates=0,
            late=0,
        ),
        dead_letters=dead,
        seconds=seconds,
        cpu_seconds=seconds / 2,
        setup_seconds=1.0,
        peak_rss_mb=200.0,
        phases={"read": 0.05, "learn": 0.2},
        evaluation=judge(log, speakers, said, 0.5),
        score_from=0.5,
        rank_share=0.25,
        seed=3,
        memory=MemoryConfig(),
        state_digest="00" * 16,
        config={"learner": "auto", "memory": MemoryConfig(), "broken": float("nan")},
        drift=list(drift),
        embeddings=list(embeddings),
        foreseen=list(foreseen),
        notes=list(notes),
        insight=insight,
    )


EXPERTS = ("recent", "hour", "week", "place", "crowd")


def learned(rows: int = 6000) -> Insight:
    """Evenings and weekends on the hour view, nights without the place view, and a habit that pauses."""
    random = np.random.default_rng(5)
    time_ms = 1_500_000_000_000 + np.sort(random.integers(0, 60 * DAY_MS, rows))
    tz_min = np.full(rows, -240)
    hour = (time_ms // 60_000 + tz_min) // 60 % 24
    logit = random.normal(0, 0.3, (rows, len(EXPERTS))) + np.array([1.0, 0.4, 0.1, 0.3, -0.4])
    logit[hour >= 18, 1] += 0.8
    logit[hour < 6, 3] -= 1.5
    gate = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    held = random.poisson([18.0, 6.0, 2.5, 1.2], (rows, 4))
    ledger = GateLedger(EXPERTS, EXPERTS[:4])
    ledger.add(time_ms, tz_min, gate, held)
    day_s = 86_400.0
    pause = np.exp(-AGES_S / 7200)
    weights = {
        "own events": np.exp(-AGES_S / (4 * day_s)) - 1.3 * pause,
        "same hour": 0.8 * np.exp(-AGES_S / (25 * day_s)) - 0.5 * pause,
        "same weekday and hour": 0.6 / (1 + AGES_S / (60 * day_s)),
        "after the same place": 0.4 * np.exp(-AGES_S / (50 * day_s)),
    }
    curves = age_curves({name: (AGES_S, weight_A) for name, weight_A in weights.items()})
    gap_s = np.geomspace(300.0, 60 * day_s, 48)
    daily = 0.02 + 0.3 * np.exp(-((np.log2(gap_s / day_s) / 0.2) ** 2)) - 0.015 * np.exp(-gap_s / 7200)
    weekly = daily + 0.15 * np.exp(-((np.log2(gap_s / day_s / 7) / 0.2) ** 2))
    returns = [
        ReturnCurve(name=name, gap_s=gap_s.tolist(), chance=chance_G, chances=40_000, hits=hits)
        for name, chance_G, hits in (
            ("had once", (daily / 4).tolist(), 900),
            ("had 5 times or more", [*weekly[:-1].tolist(), None], 6000),
        )
    ]
    near, far = np.arange(-12, 12.1, 0.25), np.arange(-84, 84.5, 1.0)
    kernels = [
        kernel("own events", near, np.exp(-(near**2) / 5), period_h=24),
        kernel("everybody", near, 0.3 + np.exp(-(near**2) / 18), period_h=24),
        kernel(
            "own events",
            far,
            np.exp(-((far / 3) ** 2)) + 0.3 * np.exp(np.cos(far * np.pi / 12) * 3 - 3),
            period_h=168,
        ),
    ]
    return msgspec.structs.replace(ledger.insight(curves, kernels), returns=returns)


def report(events: int = 4000, **options: object) -> Report:
    """The report of such a run."""
    return build(facts(events, **options))  # type: ignore[arg-type]
