"""What routes take and give, as declared: parameters with their bounds, bodies with their schemas."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from serving.answers import Asked, Moment, Visit
from serving.ranking import LISTED
from serving.run import Run
from serving.said import ANSWERS, versions_of
from serving.web import problems
from serving.web.problems import Problem

MOST_USERS, MOST_VISITS, MOST_NAMED = 64, 256, 100
_LARGE = 1e30
"""Of a number that is kept in single precision."""
CATEGORY = "category"
"""The column that `category=` asks about."""
_REFUSALS = {400: "Not what was published", 422: "Not as declared", 429: "Overload", 503: "No store"}
POSTED = {"s408": "The body did not arrive in time", "s413": "The body is too large"}
"""What else becomes of a question with a body."""
TimeMs = Callable[[str], int]
"""Reads a time as epoch milliseconds. Raises InputError."""

Count = Annotated[int, Field(ge=1, le=LISTED, description="How many.")]
Identifier = Annotated[str, Field(max_length=16_384)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, description="WGS 84 degrees.")]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, description="WGS 84 degrees.")]


class Presence(BaseModel):
    """When and where, and how many."""

    model_config = ConfigDict(extra="forbid")

    k: Count = 10
    at: Annotated[str, Field(max_length=64, description="A time, rather than the last event's.")] | None = (
        None
    )
    lat: Latitude | None = None
    lon: Longitude | None = None

    def moment(self, time_ms: TimeMs) -> Moment:
        """As `Run.memory` takes it. Raises Problem, and InputError as `time_ms` does."""
        if (self.lat is None) != (self.lon is None):
            raise Problem(422, "half a place", ["expected both lat and lon, or neither"])
        moment: Moment = {"at_ms": None if self.at is None else time_ms(self.at)}
        if self.lat is not None:
            moment["lat"], moment["lon"] = self.lat, self.lon
        return moment


class Question(Presence):
    """What recommendations are asked for."""

    exclude_seen: (
        Annotated[
            bool, Field(description="Whether what the user has had is left out, rather than as the run does.")
        ]
        | None
    ) = None
    category: Annotated[list[str], Field(max_length=100, description="Any of these categories.")] = []
    filter: Annotated[
        list[str],
        Field(max_length=100, description="COLUMN:VALUE of the item table; any of a column's values."),
    ] = []
    page: Annotated[int, Field(ge=0, le=LISTED, description="Of one list; 0 begins it anew.")] | None = None
    diversity: Annotated[float, Field(ge=0, le=1, description="0 the best, 1 the least alike.")] = 0.0

    def asked(self, time_ms: TimeMs) -> Asked:
        """As `Run.recommend` takes it. Raises Problem, and InputError as `time_ms` does."""
        only: dict[str, list[str]] = {CATEGORY: self.category} if self.category else {}
        for condition in self.filter:
            column, colon, value = condition.partition(":")
            if not colon:
                raise Problem(422, "a filter", [f"filter: expected COLUMN:VALUE, got {condition[:80]!r}"])
            only.setdefault(column, []).append(value)
        asked: Asked = {}
        asked.update(self.moment(time_ms))  # type: ignore[typeddict-item]
        given: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("exclude_seen", "page")},
            "only": only or None,
            "diversity": self.diversity or None,
        }
        asked.update({name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]
        return asked


class Batch(Question):
    """The same for several users."""

    users: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_USERS)]


class SessionEvent(BaseModel):
    """What somebody without an id has done."""

    model_config = ConfigDict(extra="forbid")

    item: Identifier
    time: Annotated[str, Field(max_length=64, description="By default now.")] | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    tz: Annotated[int, Field(ge=-1440, le=1440, description="Minutes that local time is ahead of UTC.")] = 0
    label: (
        Annotated[
            float,
            Field(ge=-_LARGE, le=_LARGE, allow_inf_nan=False, description="How it came out, above 1/2 well."),
        ]
        | None
    ) = None


class Session(Question):
    """What to recommend after these events; nothing of it is kept."""

    events: Annotated[list[SessionEvent], Field(min_length=1, max_length=MOST_VISITS)]

    def visits(self, time_ms: TimeMs) -> list[Visit]:
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        return [
            Visit(
                one.item,
                now_ms if one.time is None else time_ms(one.time),
                one.lat,
                one.lon,
                one.tz,
                one.label,
            )
            for one in self.events
        ]


class Named(BaseModel):
    """Which items are asked for."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[str, Field(max_length=200, description="Words of the title or the id, in any case.")] = ""
    k: Count = 10


class Items(BaseModel):
    """Items by their ids."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[Identifier], Field(max_length=MOST_NAMED)]


class Export(BaseModel):
    """What of the changes is wanted, and how it is said."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[int, Field(ge=0, le=2**53, description="A version; what is newer comes.")] = 0
    kind: Literal["items", "users"] = "items"
    form: Annotated[Literal["jsonl", "parquet"], Field(alias="format")] = "jsonl"
    dtype: Annotated[
        Literal["f32", "f16", "int8"], Field(description="Of the numbers; int8 times `scale` is the vector.")
    ] = "f32"


def identifier_of(sent: str) -> str:
    """An id out of a path, as it was sent. Raises Problem."""
    try:
        return unquote(sent, errors="surrogatepass") if "%" in sent else sent
    except UnicodeDecodeError:
        raise Problem(400, f"id {sent[:80]!r}: expected UTF-8, percent-encoded") from None


def versions_said(run: Run) -> dict[str, Any]:
    """Which versions there are, and of what; the one that is served is that of the run from here on."""
    run.refresh()
    info = run.info
    told = {name: getattr(info, name) for name in ("log", "learner", "width", "interests", "label")}
    counts = {str(kind): count for kind, count in run.store.counts().items()}
    return {**versions_of(run.store), "version": run.version, **told, **counts}


def answers(kind: str | None = None, *media: str, **more: str) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, as OpenAPI declares them: a component as JSON, or other types of media."""
    problem = {"content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    described = {**_REFUSALS, **{int(status.removeprefix("s")): what for status, what in more.items()}}
    declared: dict[int | str, dict[str, Any]] = {
        status: {"description": what, **problem} for status, what in described.items()
    }
    if kind is not None:
        schema = {"$ref": f"#/components/schemas/{kind}"}
        declared[200] = {"description": kind, "content": {"application/json": {"schema": schema}}}
    if media:
        declared[200] = {"description": "As asked for", "content": {one: {} for one in media}}
    return declared


def components() -> dict[str, Any]:
    """Schemas of what is answered."""
    adapters = [(kind.__name__, "serialization", TypeAdapter(kind)) for kind in ANSWERS]
    _, made = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = made["$defs"]
    several = {"type": "array", "items": {"$ref": "#/components/schemas/RecommendAnswer"}}
    batch = {"type": "object", "required": ["answers"], "properties": {"answers": several}}
    return {**schemas, "BatchAnswer": batch, "Problem": problems.schema()}
