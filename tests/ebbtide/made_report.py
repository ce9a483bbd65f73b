"""Reports of runs that never were."""

from collections.abc import Sequence

import numpy as np

from ebbtide.report import Alarm, EventCounts, LogInfo, Report, RunFacts, build
from learners.judge import Events, Speaker, judge
from state.examples import Floats
from state.memory import MemoryConfig

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
    drift: Sequence[Alarm] = (),
    notes: Sequence[str] = (),
    seconds: float = 0.5,
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
        notes=list(notes),
    )


def report(events: int = 4000, **options: object) -> Report:
    """The report of such a run."""
    return build(facts(events, **options))  # type: ignore[arg-type]
