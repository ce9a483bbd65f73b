"""What a cycle leaves behind, for people and for reports."""

import msgspec

from learners.judging.off_policy import Estimate
from state.progress import CycleAnswer


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    promoted: bool
    reason: str
    events: int
    """Of held-back users."""
    effective_events: float = 0.0
    """Of the new version."""
    before: Estimate | None = None
    """Acceptance in the explore slot by SNIPS, 95% over users."""
    after: Estimate | None = None
    difference: Estimate | None = None
    """Paired by event."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Relevance on what the explore slot has shown since the serving version was made, as it was scored."""

    slates: int
    accepted: float | None
    """None where it has shown nothing, here and below."""
    expected: float | None
    """Mean P(accept)."""
    log_loss: float | None

    @property
    def gap(self) -> float | None:
        """How far Relevance believes in its own choices."""
        if self.expected is None or self.accepted is None:
            return None
        return self.expected - self.accepted


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a cycle leaves behind."""

    number: int
    time_ms: int
    from_version: int
    to_version: int
    """The same, if it was refused."""
    verified: Verified
    lessons: int
    codes_changed: float
    """Share of the users whose first code is another."""
    divergence: float
    """Mean Kullback-Leibler divergence of the new Novelty from the old, on the newest slates, nats."""
    expected_before: float | None
    """What Relevance expects the slot of the version to be accepted, on the same slates."""
    expected_after: float | None
    verdict: Verdict
    cpu_seconds: float | None = None
    """What it cost; not known of a cycle from before the run went on from a checkpoint."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A window of events. They are what was shown; on a log without labels, what was taken."""

    time_ms: int
    """Of its last event."""
    events: int
    version: int
    """That served at its end."""
    coverage: float
    """Share of the clusters known by then of which anything was shown."""
    gini: float
    """Of what was shown, over clusters: 0 where all are shown alike, towards 1 where one has it all."""
    lock_in: float | None
    """Mean cosine of an event with what its user was shown in the weeks before: 1 for ever the same."""
    novelty: float
    """Share of events of clusters of which their user had accepted nothing for 30 days."""
    relevance: float | None
    """Share accepted; None without labels, as the next two."""
    serendipity: float | None
    """Share accepted and novel."""
    gap: float | None
    """The confirmation gap: what Relevance expected of the explored, less what was accepted."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """What items are grouped into."""

    name: str
    items: int
    popular: list[str]
    """The items that weigh most."""


class Coevolution(msgspec.Struct, frozen=True, kw_only=True):
    """What has evolved in a run, and into what."""

    clusters_by: str
    """A role or a column of the item table."""
    clusters: list[Cluster]
    serving: int
    """The version that serves; 0 before the first."""
    running: bool
    """Whether a cycle has begun that has not ended."""
    cycles: list[Record]
    over_time: list[Moment] = []
    answers: list[CycleAnswer] = []
    """What became of what was asked of a live trainer, the newest."""
