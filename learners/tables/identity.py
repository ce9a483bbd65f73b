"""What an example is, in 64 bits: the same in whatever micro-batch it comes."""

from state.compiled import inner
from state.keys import mix


@inner
def identity(partition: int, offset: int, index: int) -> int:
    return mix(mix(offset) ^ index) ^ partition


@inner
def uniform(bits: int) -> float:
    """In [0, 1), of bits that are mixed."""
    return (bits & 0x1FFFFFFFFFFFFF) / 9007199254740992.0
