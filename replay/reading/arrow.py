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
