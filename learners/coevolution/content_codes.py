"""Items as clusters by content: k-means over what a side table says of them, its texts and vectors above all.

Codes are of the rows that the table begins with, and stay: what a cluster is does not move under its users.

Shape suffixes: N items, V width, K codes.
"""

import numpy as np

from learners.coevolution.group_identity import kmeans, nearest, spread
from learners.tables.content import Content
from learners.tables.side_columns import Columns
from state.side import SideTable

ITEMS_OF_A_CODE = 20
"""That there are of each at least, on average."""
_MOST_FITTED = 8192
_CHUNK = 4096


def content_codes(items: SideTable, most: int) -> dict[int, int]:
    """Item -> its code, below `most`, of every item that something is told of by its newest first row."""
    newest = {item: row for row, item in enumerate(items.id_N[: items.begun].tolist())}
    row_N = np.array(list(newest.values()), np.int64)
    content_NV = Content(Columns(items)).of(row_N).reshape(len(row_N), -1).astype(np.float64)
    told_N = np.flatnonzero(content_NV.any(1))
    content_NV = content_NV[told_N]
    size = min(most, len(told_N) // ITEMS_OF_A_CODE)
    if size < 2:
        return {}
    some_NV = content_NV[:: -(-len(content_NV) // _MOST_FITTED)]
    centre_KV = kmeans(some_NV, spread(some_NV, size, np.random.default_rng(0)))
    parts = (content_NV[at : at + _CHUNK] for at in range(0, len(content_NV), _CHUNK))
    code_N = np.concatenate([nearest(part_NV, centre_KV) for part_NV in parts])
    item_N = np.array(list(newest), np.int64)[told_N]
    return dict(zip(item_N.tolist(), code_N.tolist(), strict=True))
