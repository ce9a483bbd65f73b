"""Whatever happens to the bytes of a text log, it is read as far as it can be, or refused in one line."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.log import Log
from state.errors import InputError
from tests.replay.events import START_S

ROWS = [(f"u{i % 5}", i % 7, START_S + i, i % 5 + 1) for i in range(40)]
CSV = "user,item,time,rating\n" + "".join(f"{u},{i},{t},{r}\n" for u, i, t, r in ROWS)
JSONL = "".join(
    json.dumps(dict(zip(("user", "item", "time", "rating"), row, strict=True))) + "\n" for row in ROWS
)
LITTER = st.sampled_from(
    [b'"', b"\n", b"\r\n", b",", b"\xff", b"\0", b"{", b"nan", b"-", b"9" * 30, b"\xc3\xa9"]
)
DAMAGE = st.lists(st.tuples(st.integers(30, 2000), st.integers(0, 3), LITTER), max_size=6)


@pytest.mark.parametrize(("name", "text"), [("a.csv", CSV), ("a.jsonl", JSONL)])
@given(damage=DAMAGE)
@settings(max_examples=75)
def test_damage_stops_nothing(name: str, text: str, damage: list[tuple[int, int, bytes]]) -> None:
    content = text.encode()
    for at, cut, litter in damage:
        content = content[:at] + litter + content[at + cut :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            log = Log.open(path)
        except InputError:
            assert damage
            return
        read = sum(len(batch) for batch in log.batches(16))
    assert read == log.rows
    lines = content.count(b"\n") + 1
    assert read + sum(log.dead.counts.values()) <= lines
    assert read >= 40 - 2 * len(damage) - sum(litter.count(b'"') for _, _, litter in damage) * 40


def test_a_key_that_is_no_text_spoils_its_row_alone(tmp_path: Path) -> None:
    rows = [f'{{"user":"u{n % 5}","item":"i{n % 7}","time":{1_500_000_000 + n}}}' for n in range(20)]
    rows[3] = rows[3].replace('{"user"', '{"\\ud800":1,"user"')
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(rows) + "\n")
    log = Log.open(path)
    events = [len(batch) for batch in log.batches(50, dead_letters=tmp_path)]
    assert (sum(events), dict(log.dead.counts)) == (19, {"malformed json": 1})
