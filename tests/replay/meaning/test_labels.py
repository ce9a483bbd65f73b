"""Label rules: parsed, applied to columns, and chosen where none is given."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from replay.meaning.labels import LabelRule, parse_rule, usual_rule
from replay.reading.arrow import Column
from replay.reading.canonical import canonical
from state.errors import InputError

NAN = float("nan")


@pytest.mark.parametrize(
    ("rule", "cells", "labels"),
    [
        ("rating>=4", [3, 4, 5, None], [0, 1, 1, NAN]),
        ("rating >= 4", [b"3", b"4.0", b"5", None], [0, 1, 1, NAN]),
        ("dwell>30 ", [30.0, 30.5], [0, 1]),
        ("x<2", [1, 2], [1, 0]),
        ("x<=2", [2, 3], [1, 0]),
        ("x=2", [2, 3], [1, 0]),
        ("x!=2", [2, 3], [0, 1]),
        ("action==buy", ["buy", "view", None], [1, 0, NAN]),
        ("action == 'buy|cart'", ["buy", "cart", "view"], [1, 1, 0]),
        ("action!=view", [b"buy", b"view"], [1, 0]),
        ("action==7|8.0", ["7.0", "8", "9", "70"], [1, 1, 0, 0]),
        ("action==7|8", [7.0, 8.5, 8.0], [1, 0, 1]),
        ("action==1.1|x", ["1.10", "1.1"], [0, 1]),
        ("seen==true", ["True", "false"], [1, 0]),
        ("seen==true", [True, False], [1, 0]),
        ("label", [0, 1, None], [0, 1, NAN]),
        ("label", [True, False], [1, 0]),
        ("label", ["yes", "No", "1", "0.25"], [1, 0, 1, 0.25]),
    ],
)
def test_a_rule_labels_a_column(rule: str, cells: list[Any], labels: list[float]) -> None:
    label_B, bad_B = parse_rule(rule).label(canonical(pa.array(cells))[0])
    np.testing.assert_array_equal(label_B, np.array(labels, np.float32))
    assert not bad_B.any()


@pytest.mark.parametrize(
    ("rule", "cells", "bad"),
    [
        ("rating>=4", ["4", "four"], [False, True]),
        ("label", [0.0, 2.0], [False, True]),
        ("label", ["yes", "perhaps", None], [False, True, False]),
    ],
)
def test_what_is_no_outcome_is_bad(rule: str, cells: list[Any], bad: list[bool]) -> None:
    assert parse_rule(rule).label(canonical(pa.array(cells))[0])[1].tolist() == bad


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "expected a rule such as rating>=4"),
        ("rating>>4", "no operator '>>'; use >= <= > < == !="),
        ("rating>=", "expected COLUMN OP VALUE"),
        (">=4", "expected COLUMN OP VALUE"),
        ("rating>four", "> compares numbers, got 'four'"),
        ("rating>=nan", ">= compares numbers, got 'nan'"),
    ],
)
def test_bad_rules(rule: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_rule(rule)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("ratings", "rule"),
    [
        ([1, 2, 3, 4, 5], "rating>=4"),
        ([0.5, 3.0, 4.5], "rating>=4"),
        ([1, 7, 10], "rating>=8"),
        ([0, 1, 1], "rating"),
        ([1, 1, 1], None),
        ([3, 57, 100], None),
        ([-10, 3, 4], None),
    ],
)
def test_ratings_are_labelled_by_their_scale(ratings: list[float], rule: str | None) -> None:
    found, sentence = usual_rule(frozenset({"rating"}), {"rating": pa.array(ratings)})
    assert (None if found is None else str(found)) == rule
    assert sentence.startswith("no label" if rule is None else "label:")


def test_a_label_beyond_every_float_is_no_label() -> None:
    label_B, bad_B = LabelRule("label").label(pa.array([1.0, 1e300, -1e300]))
    assert bad_B.tolist() == [False, True, True]
    assert label_B[0] == 1


def test_a_label_column_comes_before_ratings() -> None:
    head: dict[str, Column] = {"rating": pa.array([1, 5, 3]), "label": pa.array([0, 1, 1])}
    assert str(usual_rule(frozenset(head), head)[0]) == "label"
    assert usual_rule(frozenset(), {})[0] is None
