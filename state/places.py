"""How close places are (`state.cells`), inside kernels.

Shape suffixes: B rows, W window entries.
"""

from state import cells
from state.arrays import Floats, Int64s
from state.compiled import compiled
from state.ids import NO_KEY

closeness = compiled(cells.closeness)


@compiled
def closeness_to_last(length_B: Int64s, cell_BW: Int64s, close_BW: Floats) -> None:
    """Write how close each row's entries are to the last of them that has a place; nothing where none has."""
    for b in range(cell_BW.shape[0]):
        last = length_B[b] - 1
        while last > 0 and cell_BW[b, last] == NO_KEY:
            last -= 1
        for w in range(length_B[b]):
            close_BW[b, w] = closeness(cell_BW[b, last], cell_BW[b, w])
