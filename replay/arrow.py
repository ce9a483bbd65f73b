"""Arrow as the readers use it: columns of any type, and functions on them.

The published type stubs tell apart every kind of array and scalar and know nothing of a column whose type is
found at run time, so such columns are `Column`, and the functions are taken untyped.
"""

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

if TYPE_CHECKING:
    Column = pa.Array[Any]
else:
    Column = pa.Array

pc: Any = pyarrow.compute


def joined(columns: list[Column]) -> Column:
    """Columns one after another; those of different types as text."""
    if not columns:
        return pa.array([], pa.string())
    if any(column.type != columns[0].type or pa.types.is_dictionary(column.type) for column in columns):
        columns = [pc.cast(column, pa.string()) for column in columns]
    return pa.concat_arrays(columns)
