"""Places: cells, their parents, names, and the sun's time."""

import h3.api.basic_int as h3  # type: ignore[import-untyped]
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.cells import PARENTS, RESOLUTION, cells_of, named, solar_tz_min
from state.keys import NO_KEY
from state.places import Cells, closeness

NOWHERE = np.full(1, np.nan)
UNNAMED = np.full(1, NO_KEY)

points = st.tuples(st.floats(-85, 85), st.floats(-180, 180))
steps = st.sampled_from([0.0, 0.0005, 0.003, 0.02, 0.2])


@given(points, steps, steps)
def test_closeness_is_what_the_parents_say(point: tuple[float, float], north: float, east: float) -> None:
    a = h3.latlng_to_cell(*point, RESOLUTION)
    b = h3.latlng_to_cell(point[0] + north, point[1] + east, RESOLUTION)
    expected = 1.0 if a == b else 0.0
    for resolution, worth in reversed(PARENTS):
        if a != b and h3.cell_to_parent(a, resolution) == h3.cell_to_parent(b, resolution):
            expected = worth
    assert closeness(a, b) == closeness(b, a) == expected


def test_a_named_place_is_a_cell_of_its_own() -> None:
    a, b = named(np.array([7, 6])).tolist()
    assert closeness(a, a) == 1.0
    assert closeness(a, b) == 0.0
    assert closeness(a, h3.latlng_to_cell(40.0, -74.0, RESOLUTION)) == 0.0
    assert closeness(NO_KEY, NO_KEY) == 0.0


@given(st.lists(st.integers(-(2**62) + 1, 2**62 - 1), unique=True, max_size=20))
def test_names_keep_apart_and_are_never_cells(places: list[int]) -> None:
    numbers = named(np.array([*places, NO_KEY], np.int64)).tolist()
    assert len(set(numbers)) == len(places) + 1
    assert all(number < 0 for number in numbers)


def test_coordinates_come_before_the_name() -> None:
    cell = h3.latlng_to_cell(40.0, -74.0, RESOLUTION)
    cells = Cells()
    assert cells.of(np.array([40.0]), np.array([-74.0]), np.array([3])).tolist() == [cell]
    assert cells.of(np.array([40.0]), np.array([-74.0]), UNNAMED).tolist() == [cell]
    assert cells.of(np.array([40.0]), NOWHERE, np.array([3])).tolist() == [-4]
    assert cells.of(NOWHERE, NOWHERE, UNNAMED).tolist() == [NO_KEY]


def test_cells_of_points_that_were_met_before_and_of_new_ones_are_the_same() -> None:
    """Of more points than are kept, some met again, some nowhere."""
    rng = np.random.default_rng(0)
    lat_N, lon_N = rng.uniform(-90, 90, 1500), rng.uniform(-180, 180, 1500)
    lat_N[::7], lon_N[::5] = np.nan, np.nan
    cells = Cells()
    for _ in range(8):
        some = rng.integers(0, 1500, 700)
        given = (lat_N[some], lon_N[some], rng.integers(-3, 3, 700))
        assert cells.of(*given).tolist() == cells_of(*given).tolist()


def test_solar_time_is_the_longitude_in_whole_hours() -> None:
    lon_B = np.array([0.0, 7.6, -74.0, 139.7, 179.9, np.nan])
    assert solar_tz_min(np.full(6, 5), lon_B).tolist() == [0, 60, -300, 540, 720, 5]
