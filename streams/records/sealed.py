"""Records of 64-bit words: a value says which format it has, and whether it is what was written.

A value is little-endian words. The first holds the format's version in its lowest byte and, in its upper
half, the CRC-32 of the record's key followed by the other words.

Shape suffixes: N records, W words, E edges: where each record begins in a buffer, and where the last ends.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from state.errors import InputError
from state.keys import Int64s

VERSION = 1
WORD = 8


def sealed_all(keys: Sequence[bytes], words_W: Int64s, edge_E: Int64s) -> dict[bytes, bytes]:
    """Records that lie in `words_W` one after another, each with room for its first word."""
    value = words_W.data.cast("B")
    cuts = (edge_E * WORD).tolist()
    spans = list(zip(keys, cuts[:-1], cuts[1:], strict=True))
    sums = [crc32(value[start + WORD : end], crc32(key)) for key, start, end in spans]
    words_W.view(np.uint64)[edge_E[:-1]] = (np.array(sums, np.uint64) << np.uint64(32)) | np.uint64(VERSION)
    return {key: bytes(value[start:end]) for key, start, end in spans}


def sealed(key: bytes, words_W: Int64s) -> bytes:
    """One record with these words."""
    whole_W = np.concatenate([np.zeros(1, np.int64), words_W])
    return sealed_all([key], whole_W, np.array([0, len(whole_W)]))[key]


def opened_all(keys: Sequence[bytes], values: Sequence[bytes]) -> tuple[Int64s, Int64s]:
    """Words of records one after another, first words included, and their edges. Raises InputError."""
    for key, value in zip(keys, values, strict=True):
        if len(value) < WORD or len(value) % WORD:
            raise damaged(key, f"expected whole words of {WORD} bytes, got {len(value):,} bytes")
        if value[0] != VERSION:
            raise InputError(
                f"state record {shown(key)}: expected format {VERSION}, got {value[0]}; "
                "it was written by another version of ebbtide, or is damaged"
            )
        if int.from_bytes(value[1:WORD], "little") != crc32(memoryview(value)[WORD:], crc32(key)) << 24:
            raise damaged(key, "its checksum is not that of its content")
    words_W = np.frombuffer(bytearray().join(values), np.int64)
    edge_E = np.cumsum([0, *map(len, values)]) // WORD
    return words_W, edge_E


def taken(left: dict[bytes, bytes], key: bytes) -> Int64s:
    """Words of one record, which is taken out of `left`. Raises InputError."""
    value = left.pop(key, None)
    if value is None:
        raise InputError(f"state record {shown(key)}: expected it among the records, got none")
    words_W, _ = opened_all([key], [value])
    return words_W[1:]


def damaged(key: bytes, why: str) -> InputError:
    return InputError(f"state record {shown(key)} is damaged: {why}")


def shown(key: bytes) -> str:
    """A key for people, whatever is in it."""
    return ascii(key.decode("utf-8", "replace"))[1:-1]
