"""Label rules: what counts as a positive outcome.

A rule is `COLUMN OP VALUE` with one of `>= <= == != > < =`, alternatives separated by `|` after `==` or `!=`
(`action==buy|cart`), or a bare column that holds the outcome itself, 0..1 or yes and no. It is parsed and
applied to whole columns, never evaluated as code.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from replay.reading.arrow import Column
from replay.reading.cells import CellNumbers, numbers, numeral, texts
from state.errors import InputError
from state.examples import Floats

_RULE = re.compile(r"\s*(?P<column>[^<>=!]+?)\s*(?P<op>[<>=!]+)\s*(?P<value>[^<>=!\s].*?)\s*")
_YES = {"true": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "false": 0.0, "no": 0.0, "n": 0.0, "f": 0.0}


@dataclass(frozen=True, slots=True)
class LabelRule:
    """`column op value`; `op` is empty for a column that is the outcome."""

    column: str
    op: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.column}{self.op}{self.value}"

    def label(self, column: Column) -> tuple[Floats, NDArray[np.bool_]]:
        """The labels of a column, NaN where it holds no value, and which cells are of the wrong type."""
        if self.op in ("==", "!=") and not _is_number(self.value):
            return self._equal(column)
        cells = _outcomes(column) if not self.op else numbers(column)
        label_B = cells.value_B.copy()
        if self.op:
            known = ~np.isnan(label_B)
            label_B[known] = _COMPARE[self.op](label_B[known], float(self.value))
        else:
            cells.bad_B[:] |= (label_B < 0) | (label_B > 1)
            label_B[cells.bad_B] = np.nan
        return label_B.astype(np.float32), cells.bad_B

    def _equal(self, column: Column) -> tuple[Floats, NDArray[np.bool_]]:
        wanted = set(map(_plainly, self.value.split("|")))
        uniques, index_B = texts(column)
        hit = np.array([_plainly(text) in wanted for text in uniques] + [False])
        label_B = hit[index_B].astype(np.float32)
        if self.op == "!=":
            label_B = np.float32(1) - label_B
        label_B[index_B < 0] = np.nan
        return label_B, np.zeros(len(index_B), np.bool_)


_COMPARE = {
    ">=": np.greater_equal,
    "<=": np.less_equal,
    ">": np.greater,
    "<": np.less,
    "==": np.equal,
    "!=": np.not_equal,
}


def parse_rule(text: str) -> LabelRule:
    """One rule from its text. Raises InputError.

    >>> str(parse_rule("rating >= 4"))
    'rating>=4'
    """
    if not text.strip():
        raise InputError("--label '': expected a rule such as rating>=4, action==buy or a column")
    match = _RULE.fullmatch(text)
    if match is None:
        if re.search(r"[<>=!]", text):
            raise InputError(f"--label {text!r}: expected COLUMN OP VALUE such as rating>=4 or action==buy")
        return LabelRule(text.strip())
    op = "==" if match["op"] == "=" else match["op"]
    value = match["value"].strip("\"'")
    if op not in _COMPARE:
        raise InputError(f"--label {text!r}: no operator {op!r}; use {' '.join(_COMPARE)}")
    if op not in ("==", "!=") and not _is_number(value):
        raise InputError(f"--label {text!r}: {op} compares numbers, got {value!r}")
    return LabelRule(match["column"], op, value)


def usual_rule(roles: frozenset[str], head: dict[str, Column]) -> tuple[LabelRule | None, str]:
    """The rule for a log that comes without one, and a sentence that says so.

    A column in the role `label` is the outcome. Ratings are turned into one by their scale, as seen in the
    first rows: two values are the outcome itself; up to 5, `rating>=4`; up to 10, `rating>=8`. Any
    other scale says nothing, and every event is a positive.
    """
    if "label" in roles:
        return LabelRule("label"), "label: the column that holds the outcome"
    if "rating" not in roles:
        return None, "no label: every event is a positive"
    value_B = numbers(head["rating"]).value_B
    rating_R = np.unique(value_B[~np.isnan(value_B)])
    if len(rating_R) > 1 and set(rating_R.tolist()) <= {0.0, 1.0}:
        return LabelRule("rating"), "label: the rating, which is 0 or 1"
    for top, least in ((5.0, 4), (10.0, 8)):
        if len(rating_R) > 2 and rating_R[0] >= 0 and least <= rating_R[-1] <= top:
            rule = LabelRule("rating", ">=", str(least))
            return rule, f"label: {rule}, as the ratings go up to {rating_R[-1]:g}; another by --label"
    return None, "no label: the ratings have no usual scale; say what is a positive by --label 'rating>=...'"


def _plainly(text: str) -> str:
    """A text as its like is written plainly: `7` for 7.0, `true` for True."""
    return text.lower() if text.lower() in ("true", "false") else numeral(text) or text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _outcomes(column: Column) -> CellNumbers:
    if not pa.types.is_string(column.type):
        return numbers(column)
    uniques, index_B = texts(column)
    value = [_YES.get(text.lower(), text) for text in uniques]
    plain = pa.array([str(v) for v in value], pa.string())
    cells = numbers(plain)
    pad = np.append(cells.value_B, np.nan)
    return CellNumbers(pad[index_B], np.append(cells.bad_B, False)[index_B])
