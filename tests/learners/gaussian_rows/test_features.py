"""Features: what each kind of log gives, and that nothing later than a row shapes it."""

import numpy as np
import pytest

from learners.contract import Context
from learners.gaussian_rows.features import Features
from learners.tables.side_columns import GROUPS, MOST_KEYS, Columns
from state.examples import Doubles, ExampleBatch, empty_examples
from state.keys import NO_KEY
from state.side import ALWAYS, Categories, SideTable
from tests.learners.labelled import context, full_context, item_table, planted_log, user_table

BARE = frozenset({"user", "item", "time", "label"})


def keys(where: Context, rows: ExampleBatch, b: int) -> dict[str, list[int]]:
    features = Features(where)
    fields = features.of(rows)
    starts = fields.start_BF1[b]
    return {
        field.name: fields.keys[starts[f] : starts[f + 1]].tolist() for f, field in enumerate(features.fields)
    }


def numbers(where: Context, rows: ExampleBatch, b: int) -> dict[str, float]:
    features = Features(where)
    row = features.of(rows).number_BX[b].tolist()
    return dict(zip((number.name for number in features.numbers), row, strict=True))


def test_a_log_of_ids_alone_has_ids_hours_and_rates() -> None:
    features = Features(context(roles=BARE))
    assert [field.name for field in features.fields] == ["user", "item", "hour"]
    names = {t.name for t in features.templates}
    assert {"user", "item", "user x hour", "user slope on item_rate", "slope on popularity"} <= names
    assert not any("." in name for name in names)


def test_roles_and_columns_become_fields() -> None:
    rows = planted_log(30)
    found = keys(full_context(), rows, 7)
    item, user = int(rows.item_B[7]), int(rows.user_B[7])
    assert found["item.genre"] == [item % 3, 100 + item % 2]
    assert found["category"] == [item % 3]
    assert found["user"] == [user]
    assert set(found) == {
        *("user", "item", "hour", "category", "scene"),
        *("item.genre", "item.year", "user.group", "user.age"),
    }
    assert numbers(full_context(), rows, 7)["item.year"] == 1990.0 + item


@pytest.mark.parametrize(
    ("where", "with_items", "with_users"),
    [
        (context(), False, False),
        (context(item_table(numbers=False)), True, False),
        (context(None, user_table()), False, True),
        (full_context(), True, True),
    ],
)
def test_crosses_follow_the_tables(where: Context, with_items: bool, with_users: bool) -> None:
    names = {t.name for t in Features(where).templates}
    assert ("user x item.genre" in names) == with_items
    assert ("item x user.group" in names) == with_users


def test_unknown_ids_and_missing_values_give_no_key() -> None:
    rows = empty_examples(2)
    rows.user_B[:], rows.item_B[:] = (3, 999), (999, 5)
    found = keys(full_context(), rows, 0)
    assert found["item.genre"] == found["item.year"] == found["category"] == found["user.age"] == []
    assert np.isnan(numbers(full_context(), rows, 0)["item.year"])
    assert np.isnan(numbers(full_context(), rows, 0)["user.age"])
    assert keys(full_context(), rows, 1)["user.group"] == []


def test_a_place_is_its_cell() -> None:
    rows = planted_log(2)
    rows.cell_B[:] = (77, NO_KEY)
    where = context(roles=BARE | {"lat", "lon"})
    assert keys(where, rows, 0)["place"] == [77]
    assert keys(where, rows, 1)["place"] == []


def test_the_row_in_force_counts() -> None:
    table = SideTable(
        np.array([5, 5, 6, 7]),
        np.array([ALWAYS, 1000, ALWAYS, ALWAYS]),
        categories={"state": Categories(np.arange(5), np.array([10, 20, 10, 20]))},
    )
    rows = empty_examples(2)
    rows.item_B[:], rows.time_ms_B[:] = 5, (999, 1000)
    assert [keys(context(table), rows, b)["item.state"] for b in (0, 1)] == [[10], [20]]


def test_numbers_say_how_rates_differ_from_the_base_rate() -> None:
    rows = empty_examples(1)
    rows.item_rates_BR[0, :2] = 3, 3
    rows.item_rates_BR[0, 13:15] = 8, 4
    found = numbers(context(), rows, 0)
    assert found["popularity"] == 2.0
    assert found["item_rate"] == pytest.approx(np.log(5.5 / 2.5))
    assert found["user_rate"] == 0.0


def test_groups_are_of_equal_size_and_keep_few_values_apart() -> None:
    assert np.bincount(groups(np.arange(900.0))).tolist() == [100] * GROUPS
    assert len(set(groups(np.repeat([1.0, 2.0, 5.0], 300)))) == 3
    assert groups(np.full(5, np.nan)) == []


def groups(value_N: Doubles) -> list[int]:
    """In which of a number column's groups its values are, those that are in any."""
    rows = len(value_N)
    table = SideTable(np.arange(rows), np.full(rows, ALWAYS), numbers={"x": value_N})
    return Columns(table).keys.tolist()


def test_rows_that_hold_later_do_not_shape_the_groups() -> None:
    early = np.arange(300.0)
    since = np.full(300, ALWAYS)
    alone = Columns(SideTable(np.arange(300), since, numbers={"x": early}))
    both = Columns(
        SideTable(
            np.arange(600),
            np.concatenate([since, np.full(300, 10**12)]),
            numbers={"x": np.concatenate([early, early + 10**6])},
        )
    )
    assert both.keys[:300].tolist() == alone.keys.tolist()


def test_columns_follow_a_table_that_grows() -> None:
    """What comes later falls into the groups that there are; what was dropped leaves no trace."""

    def table(first: int, size: int, since_ms: int) -> SideTable:
        n = np.arange(first, first + size)
        keys = Categories(np.arange(size + 1), n % 4)
        return SideTable(
            n % 50, np.full(size, since_ms), numbers={"x": (n % 97).astype(float)}, categories={"c": keys}
        )

    def said(columns: Columns, time_ms: int) -> list[tuple[list[int], float]]:
        rows = columns.rows(np.arange(50), np.full(50, time_ms)).tolist()
        start_NC1 = columns.start_NC1
        return [
            (columns.keys[start_NC1[r, 0] : start_NC1[r, -1]].tolist(), columns.number_NM[r, 0]) for r in rows
        ]

    side = table(0, 50, ALWAYS)
    columns = Columns(side)
    before = said(columns, 0)
    for n in range(6):
        side.add(table(50 + 30 * n, 30, 10 * n))
    late = Columns(side)
    assert said(columns, 100) == said(late, 100) != before
    assert said(columns, -1) == before
    side.settle(100)
    assert len(side) == 100
    assert said(columns, 100) == said(late, 100) == said(Columns(side), 100)


def test_a_long_cell_is_cut() -> None:
    column = Categories(np.arange(0, 5001, 50), np.tile(np.arange(50), 100))
    table = SideTable(np.arange(100), np.full(100, ALWAYS), categories={"tags": column})
    columns = Columns(table)
    assert columns.keys.tolist() == 100 * [*range(MOST_KEYS)]
    assert columns.start_NC1[:2].tolist() == [[0, MOST_KEYS], [MOST_KEYS, 2 * MOST_KEYS]]
    features = Features(context(table))
    rows = empty_examples(1)
    rows.item_B[:] = 0
    assert len(features.of(rows).keys) >= MOST_KEYS
    assert features.most(features.templates) >= 2 * MOST_KEYS


def test_a_category_that_names_its_row_is_left_out() -> None:
    """It says no more than the id does."""
    id_N = np.arange(40)
    zips, sexes = (Categories(np.arange(41), keys) for keys in (id_N * 7 % 39, id_N % 2))
    columns = Columns(SideTable(id_N, np.full(40, ALWAYS), categories={"zip": zips, "sex": sexes}))
    assert columns.categories == ("sex",)
