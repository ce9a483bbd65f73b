"""One JSON array of objects as lines of one object each, in bounded memory.

    [{"user": 1,          {"user": 1, "item": 2}
      "item": 2},   ->    {"user": 3, "item": 4}
     {"user": 3, "item": 4}]

Shape suffixes: B bytes, S those of them that may structure.
"""

from collections.abc import Iterator

import numpy as np

_QUOTE, _COMMA, _NEWLINE, _BLANK = b'",\n '
_STEP = np.zeros(256, np.int8)
"""How a character outside of texts changes the depth."""
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_STRUCTURE = np.isin(np.arange(256), list(b'"[]{},\n'))


def is_array(start: bytes) -> bool:
    """Whether a text begins as an array of objects, and not as one line of many."""
    return start.lstrip().startswith(b"[") and start.lstrip()[1:].lstrip()[:1] in (b"{", b"]")


def lines_of_array(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The array's elements, one a line; what stands behind the array becomes lines, too."""
    depth, in_text, held = 0, False, b""
    for piece in pieces:
        text = held + piece
        loose = len(text) - len(text.rstrip(b"\\"))
        held = text[len(text) - loose % 2 :] if loose % 2 else b""
        text = text[: len(text) - len(held)]
        # every escape takes two bytes, so none of what is left of them begins or ends a text
        codes_B = np.frombuffer(text.replace(b"\\\\", b"__").replace(b'\\"', b"__"), np.uint8)
        at_S = np.flatnonzero(_STRUCTURE[codes_B])
        code_S = codes_B[at_S]
        quotes_S = np.cumsum(code_S == _QUOTE, dtype=np.uint8) + np.uint8(in_text)
        outside_S = quotes_S & 1 == 0
        step_S = _STEP[code_S] * outside_S
        depth_S = depth + np.cumsum(step_S, dtype=np.int64)
        made_B = np.frombuffer(text, np.uint8).copy()
        made_B[at_S[outside_S & (code_S == _NEWLINE)]] = _BLANK
        made_B[at_S[outside_S & (code_S == _COMMA) & (depth_S == 1)]] = _NEWLINE
        made_B[at_S[(step_S == 1) & (depth_S == 1)]] = _BLANK
        made_B[at_S[(step_S == -1) & (depth_S == 0)]] = _NEWLINE
        yield made_B.tobytes()
        if len(at_S):
            depth, in_text = int(depth_S[-1]), not outside_S[-1]
    if held:
        yield held
