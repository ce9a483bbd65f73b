"""What is answered, as data, and what may be asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypedDict, Unpack

from serving.reasons import Because as Because
from serving.reasons import PastEvent as PastEvent
from serving.reasons import Reasons
from serving.session import Visit as Visit
from state.errors import UnknownIdError


@dataclass(frozen=True, slots=True)
class UserAnswer:
    user: str
    version: int
    event_time: str
    """Of the user's last event, ISO 8601 in UTC."""
    interests: list[list[float]]


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    item: str
    version: int
    event_time: str
    vector: list[float]


@dataclass(frozen=True, slots=True)
class Recommended:
    item: str
    score: float
    why: Reasons


@dataclass(frozen=True, slots=True)
class Explored(Recommended):
    """What stands in the explore slot (`serving.exploring`): an event that comes of it is to say both."""

    source: str
    propensity: float


@dataclass(frozen=True, slots=True)
class RecommendAnswer:
    user: str
    version: int
    items: list[Recommended | Explored]
    by: Literal["copy score", "interests", "popularity"]
    """What the score is."""


@dataclass(frozen=True, slots=True)
class Similar:
    item: str
    score: float
    """Cosine, biases aside."""


@dataclass(frozen=True, slots=True)
class SimilarAnswer:
    item: str
    items: list[Similar]


class Moment(TypedDict, total=False):
    """When and where; what is left out is as of the last event."""

    at_ms: int | None
    """A time, in UTC."""
    lat: float | None
    lon: float | None
    """A place, WGS 84 degrees: both or neither."""


class Asked(Moment, total=False):
    """What recommendations may be asked for, besides how many. What is left out is as of the last event."""

    exclude_seen: bool | None
    """Whether what the user remembers and what the run's rule keeps away is left out; else the rule says."""
    only: Mapping[str, Sequence[str]] | None
    """Column of the item table -> values, one of which an item must have."""
    diversity: float
    """From 0, the best, to 1, the least alike (`serving.ranking.diverse`)."""
    page: int | None
    """0 begins a list of up to LISTED items, of which the pages after it are: they repeat nothing."""


class UnknownUserError(UnknownIdError):
    """A user of whom nothing was published; `answer` is what everybody likes, with that reason."""

    def __init__(self, message: str, answer: RecommendAnswer) -> None:
        super().__init__(message)
        self.answer = answer


class Answers(Protocol):
    """Who is asked: `serving.run.Run`, or `serving.remote.RemoteRun`. Close it, or use it in a `with`."""

    @property
    def titles(self) -> Mapping[str, str]: ...

    def user(self, identifier: str | int) -> UserAnswer: ...

    def item(self, identifier: str | int) -> ItemAnswer: ...

    def similar(self, identifier: str | int, k: int = 10) -> SimilarAnswer: ...

    def recommend(self, identifier: str | int, k: int = 10, **asked: Unpack[Asked]) -> RecommendAnswer: ...

    def recommend_after(
        self, history: Sequence[Visit], k: int = 10, **asked: Unpack[Asked]
    ) -> RecommendAnswer: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
