"""One JSON array of objects as lines of one object each, in bounded memory.

    [{"user": 1,          {"user": 1, "item": 2}
      "item": 2},   ->    {"user": 3, "item": 4}
     {"user": 3, "item": 4}]

Shape suffix: B bytes.
"""

from collections.abc import Iterator

import numpy as np

_QUOTE, _COMMA, _NEWLINE, _BLANK = b'",\n '
_STEP = np.zeros(256, np.int8)
"""How a character outside of texts changes the depth."""
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1


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
        if len(codes_B) == 0:
            continue
        quotes_B = (np.cumsum(codes_B == _QUOTE) + in_text) & 1
        outside_B = quotes_B == 0
        step_B = _STEP[codes_B] * outside_B
        depth_B = depth + np.cumsum(step_B, dtype=np.int64)
        made_B = np.frombuffer(text, np.uint8).copy()
        made_B[outside_B & (made_B == _NEWLINE)] = _BLANK
        made_B[outside_B & (codes_B == _COMMA) & (depth_B == 1)] = _NEWLINE
        made_B[(step_B == 1) & (depth_B == 1)] = _BLANK
        made_B[(step_B == -1) & (depth_B == 0)] = _NEWLINE
        yield made_B.tobytes()
        depth, in_text = int(depth_B[-1]), bool(quotes_B[-1])
    if held:
        yield held
