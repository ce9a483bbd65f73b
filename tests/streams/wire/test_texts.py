"""Keys of a column of texts are those of each of them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.keys import NO_KEY, key_of
from state.name_table import NameTable
from streams.wire.texts import keys_of, longer

TEXTS = st.lists(st.none() | st.sampled_from(["", "7", "ann", "bob", "ünï", "x" * 9]), max_size=12)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@given(TEXTS, st.integers(0, 3), st.booleans())
def test_keys_and_names_are_those_of_each_text(
    kind: pa.DataType, texts: list[str | None], first: int, named: bool
) -> None:
    names = NameTable() if named else None
    texts_from = texts[first:]
    column = pa.array(texts, kind)[first:]
    assert keys_of(column, names).tolist() == [key_of(text) if text else NO_KEY for text in texts_from]
    if names is not None:
        assert names == {key_of(text): text for text in texts_from if text and key_of(text) >= 2**62}
    long_B = longer(column, 3)
    assert ([False] * len(column) if long_B is None else long_B.tolist()) == [
        len(text or "") > 3 for text in texts_from
    ]
