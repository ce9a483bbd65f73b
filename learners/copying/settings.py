"""Settings of the copy path."""

from learners.contract import Settings
from learners.mixing.mixture import MixtureSettings
from learners.ranges import Positive, Share, Some, Whole


class CopySettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first halves of the benchmark logs."""

    on: bool = True
    """Off, ranking goes by the interests alone, at a fraction of the cost."""
    memory: bool = True
    """Whether the user's own memory speaks."""
    returns: bool = True
    """Whether it tells how long ago anything was, by the learned curve of return."""
    periodic: bool = True
    """Whether it returns with the hour and the weekday."""
    views: bool = True
    """Whether each view has an expert; else there is one for all."""
    base: bool = True
    """Whether the logarithm of plain counts enters."""
    base_events: Positive = 5000.0
    """Events after which it counts half, in place of weight one: by then the mixture knows better."""
    window: Some = 64
    """Entries of the memory that speak."""
    mask: bool = True
    """Whether forgetting and the hour select them; else they are the newest."""
    own: Whole = 160
    """Own candidates, at most."""
    popular: Whole = 48
    """Popular candidates by each of three half-lives and by the hour, where nothing repeats. Of these and of
    those by interest so many are candidates as events go to items that their user has not had: where users
    return, strangers cost most and harm."""
    brought: Whole = 40
    """Candidates by interest, where nothing repeats."""
    among: Whole = 2048
    """The most popular items, among which the interests look, where nothing repeats."""
    spare: Share = 0.02
    """Where fewer events than this share repeat an item of the memory, its items are no candidates."""
    most_waiting: Some = 1 << 20
    """Candidates whose evidence may wait for its outcome; rows beyond that are not learned here."""
    mixture: MixtureSettings = MixtureSettings()
