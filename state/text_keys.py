"""Keys of many texts at once, as `state.ids.key_of` gives them one by one.

BLAKE2b is that of RFC 7693, without a key and with a digest of 8 bytes.

Shape suffixes: N texts, U bytes.
"""

import numpy as np
from numpy.typing import NDArray

from state.arrays import Bytes, Int64s
from state.compiled import compiled, inner
from state.ids import HASHED, NO_KEY

_BLOCK, _WORDS = 128, 16
_MOST_DIGITS = 19
_ZERO, _NINE, _MINUS = ord("0"), ord("9"), ord("-")
_IV = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
_PARAMETERS = np.uint64(0x01010008)
_SIGMA = np.array(
    [
        *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        *(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
        *(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
        *(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
        *(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
        *(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
        *(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
        *(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
        *(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
        *(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
        *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        *(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    ],
    np.int64,
).reshape(12, 16)
"""RFC 7693, 2.7: the order of a block's words in each round."""

Word = np.uint64
Words = NDArray[Word]


def text_keys(said: bytes, edge_N1: Int64s) -> Int64s:
    """Keys (N,) of texts that lie in UTF-8 one after another, text n between edges n and n + 1.

    An empty text has NO_KEY.

    >>> text_keys(b"anna7", np.array([0, 4, 5, 5])).tolist()
    [5497351756246697168, 7, -9223372036854775808]
    """
    key_N = np.empty(len(edge_N1) - 1, np.int64)
    block_W = np.zeros(_WORDS, np.uint64)
    _keys(
        np.frombuffer(said, np.uint8),
        edge_N1,
        block_W,
        block_W.view(np.uint8),
        np.zeros(len(_IV), np.uint64),
        key_N,
    )
    return key_N


@compiled
def _keys(
    bytes_U: Bytes,
    edge_N1: Int64s,
    block_W: Words,
    block_U: Bytes,
    hash_8: Words,
    key_N: Int64s,
) -> None:
    """`block_U` is the memory of `block_W`; what these two and `hash_8` hold before does not matter."""
    for n in range(len(key_N)):
        text_U = bytes_U[edge_N1[n] : edge_N1[n + 1]]
        if len(text_U) == 0:
            key_N[n] = NO_KEY
        elif _is_whole(text_U):
            key_N[n] = _number(text_U)
        else:
            _hash(text_U, block_W, block_U, hash_8)
            key_N[n] = np.int64(hash_8[0] & np.uint64(HASHED - 1)) + HASHED


@inner
def _is_whole(text_U: Bytes) -> bool:
    """Whether it is written as whole numbers below 2^62 in size are."""
    first = 1 if text_U[0] == _MINUS else 0
    digits = len(text_U) - first
    if digits < 1 or digits > _MOST_DIGITS or (text_U[first] == _ZERO and len(text_U) > 1):
        return False
    for i in range(first, len(text_U)):
        if text_U[i] < _ZERO or text_U[i] > _NINE:
            return False
    return digits < _MOST_DIGITS or -HASHED < _number(text_U) < HASHED


@inner
def _number(text_U: Bytes) -> int:
    """Of digits; beyond 2^62 in size where 19 of them are, since ten times 2^62 is no more than 2^66."""
    first = 1 if text_U[0] == _MINUS else 0
    size = np.uint64(0)
    for i in range(first, len(text_U)):
        size = size * np.uint64(10) + np.uint64(text_U[i] - _ZERO)
    if size >= np.uint64(HASHED):
        return NO_KEY
    return -np.int64(size) if first else np.int64(size)  # type: ignore[return-value]


@inner
def _hash(text_U: Bytes, block_W: Words, block_U: Bytes, hash_8: Words) -> None:
    """BLAKE2b of a text that is not empty."""
    for i in range(len(hash_8)):
        hash_8[i] = _IV[i]
    hash_8[0] ^= _PARAMETERS
    for first in range(0, len(text_U), _BLOCK):
        size = min(len(text_U) - first, _BLOCK)
        for i in range(size):
            block_U[i] = text_U[first + i]
        for i in range(size, _BLOCK):
            block_U[i] = 0
        _compress(hash_8, block_W, np.uint64(first + size), first + size == len(text_U))


@inner
def _compress(hash_8: Words, block_W: Words, done: Word, last: bool) -> None:
    """RFC 7693, 3.2, with its names: `done` bytes so far, this block's included."""
    v0, v1, v2, v3 = hash_8[0], hash_8[1], hash_8[2], hash_8[3]
    v4, v5, v6, v7 = hash_8[4], hash_8[5], hash_8[6], hash_8[7]
    v8, v9, v10, v11 = _IV[0], _IV[1], _IV[2], _IV[3]
    v12, v13, v14, v15 = _IV[4] ^ done, _IV[5], _IV[6], _IV[7]
    if last:
        v14 = ~v14
    m = block_W
    for r in range(len(_SIGMA)):
        s = _SIGMA[r]
        v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[s[0]], m[s[1]])
        v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[s[2]], m[s[3]])
        v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[s[4]], m[s[5]])
        v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[s[6]], m[s[7]])
        v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[s[8]], m[s[9]])
        v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[s[10]], m[s[11]])
        v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[s[12]], m[s[13]])
        v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[s[14]], m[s[15]])
    hash_8[0] ^= v0 ^ v8
    hash_8[1] ^= v1 ^ v9
    hash_8[2] ^= v2 ^ v10
    hash_8[3] ^= v3 ^ v11
    hash_8[4] ^= v4 ^ v12
    hash_8[5] ^= v5 ^ v13
    hash_8[6] ^= v6 ^ v14
    hash_8[7] ^= v7 ^ v15


@inner
def _mix(a: Word, b: Word, c: Word, d: Word, x: Word, y: Word) -> tuple[Word, Word, Word, Word]:
    a = a + b + x
    d = _right(d ^ a, np.uint64(32))
    c = c + d
    b = _right(b ^ c, np.uint64(24))
    a = a + b + y
    d = _right(d ^ a, np.uint64(16))
    c = c + d
    b = _right(b ^ c, np.uint64(63))
    return a, b, c, d


@inner
def _right(word: Word, by: Word) -> Word:
    return (word >> by) | (word << (np.uint64(64) - by))
