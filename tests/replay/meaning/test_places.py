"""Whose a place is: the item's, as a venue's, or the request's own, as a shop or a phone's position."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.inspect import inspect
from replay.log import Log
from replay.meaning.columns import Columns, cut
from replay.meaning.places import ItemPlaces
from state.keys import NO_KEY
from tests.replay.events import START_S, read, write_csv

EVENTS = 4000
BORROWED = "places are the items': a place view goes by where the user was last"

random = np.random.default_rng(5)
user_E = random.integers(0, 40, EVENTS)
item_E = random.integers(0, 100, EVENTS)


def seen(columns: Columns, piece: int = 1000, capacity: int = 1 << 17) -> ItemPlaces:
    places = ItemPlaces(capacity)
    for part in cut([columns | {"time_ms": np.arange(len(columns["item"]))}], piece):
        places.add(part)
    return places


def named(place_E: np.ndarray) -> ItemPlaces:
    return seen({"user": user_E, "item": item_E, "place": place_E})


def at(spot_E: np.ndarray, noise_degrees: float = 0.0) -> ItemPlaces:
    lat_E, lon_E = 40 + spot_E * 0.01, -74 + spot_E * 0.01
    noise_E = random.normal(0, 1, EVENTS) * noise_degrees
    return seen({"user": user_E, "item": item_E, "lat": lat_E + noise_E, "lon": lon_E})


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=100), st.integers(1, 101))
def test_an_items_events_by_unlike_users_are_compared(rows: list[tuple[int, int, int]], piece: int) -> None:
    last: dict[int, tuple[int, int]] = {}
    pairs = []
    for user, item, place in rows:
        if place != 0:
            if item in last and last[item][0] != user:
                pairs.append(last[item][1] == place)
            last[item] = user, place
    user_E, item_E, place_E = np.array(rows, np.int64).reshape(-1, 3).T
    share = seen(
        {"user": user_E, "item": item_E, "place": np.where(place_E == 0, NO_KEY, place_E)}, piece
    ).share
    assert share == pytest.approx(np.mean(pairs) if len(pairs) >= 20 else np.nan, nan_ok=True)


def test_a_venue_is_where_it_was() -> None:
    assert named(item_E % 7).of_item
    assert at(item_E).of_item
    assert at(item_E, noise_degrees=1e-9).of_item


def test_a_venue_may_move_and_a_few_rows_may_be_wrong() -> None:
    moved_E = item_E + 1000 * ((np.arange(EVENTS) > EVENTS // 2) & (item_E < 50))
    assert named(moved_E).of_item
    assert named(np.where(random.random(EVENTS) < 0.004, 99, item_E)).of_item


def test_shops_homes_and_phones_are_where_the_request_is() -> None:
    assert not named(random.integers(0, 10, EVENTS)).of_item
    assert not named(user_E).of_item
    assert not at(item_E, noise_degrees=0.001).of_item
    assert not named(np.where(random.random(EVENTS) < 0.05, 99, item_E)).of_item


def test_a_habit_at_home_makes_no_place_the_items() -> None:
    """Each item has one user for a long time, then another: only the change says whose the place is."""
    order = np.lexsort((user_E, item_E))
    places = seen({"user": user_E[order], "item": item_E[order], "place": user_E[order]})
    assert places.share == 0.0


def test_in_doubt_a_place_is_the_items() -> None:
    few = seen({"user": user_E[:30], "item": np.arange(30), "place": user_E[:30]})
    assert np.isnan(few.share)
    assert few.of_item


def test_only_so_many_items_are_looked_at() -> None:
    item_E = np.arange(EVENTS) // 2 % 1000
    places = seen({"user": np.arange(EVENTS), "item": item_E, "place": item_E}, capacity=100)
    assert places.share == 1.0
    strange_E = np.where(item_E < 100, item_E, np.arange(EVENTS))
    assert seen({"user": np.arange(EVENTS), "item": item_E, "place": strange_E}, capacity=100).share == 1.0


def log(path: Path, header: str, place: str, items: str | None = None) -> Log:
    """A log in which users meet at three items; `place` is filled in with their numbers."""
    rows = [
        f"{u},{i},{START_S + 60 * n}," + place.format(i=i, u=u)
        for n, (u, i) in enumerate((n * 5 % 7, n % 3) for n in range(60))
    ]
    file = write_csv(path / "log.csv", header, rows)
    if items is None:
        return Log.open(file)
    venues = write_csv(path / "items.csv", items, [f"{i},4{i}.5,2.5" for i in range(3)])
    return Log.open(file, items=venues)


def test_a_log_with_the_venues_coordinates_in_its_rows_says_so(tmp_path: Path) -> None:
    venues = log(tmp_path, "user,item,time,lat,lon", "4{i}.5,2.5")
    assert venues.place_of_item
    assert venues.survey.item_place_share == 1.0
    assert BORROWED in venues.notes
    assert ("places", "the items'") in inspect(venues).rows()


def test_a_log_with_places_of_its_own_borrows_none(tmp_path: Path) -> None:
    shops = log(tmp_path, "user,item,time,store_id", "{u}", items="item,lat,lon")
    assert not shops.place_of_item
    assert BORROWED not in shops.notes
    assert not {"lat", "lon"} & shops.roles
    assert np.isnan(read(shops).lat_B).all()
    assert ("places", "the events' own") in inspect(shops).rows()


def test_borrowed_coordinates_are_the_items(tmp_path: Path) -> None:
    bare = log(tmp_path, "user,item,time,note", "{u}", items="item,lat,lon")
    assert bare.place_of_item
    assert BORROWED in bare.notes
    assert read(bare).lat_B[:3].tolist() == [40.5, 41.5, 42.5]


def test_a_log_without_places_has_nobodys(tmp_path: Path) -> None:
    plain = log(tmp_path, "user,item,time,note", "{u}")
    assert not plain.place_of_item
    assert "places" not in dict(inspect(plain).rows())
