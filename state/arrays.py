"""Kinds of arrays, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]
Bools = NDArray[np.bool_]
