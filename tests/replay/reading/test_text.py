"""Text as people and programs write it: what is common is read, what is not is named with the cure."""

import gzip
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.log import Log
from replay.meaning.mapping import Mapping
from replay.reading.json_array import lines_of_array
from replay.reading.lines import blocks
from state.errors import InputError
from tests.replay.events import START_S, read, same, write_csv

NAMES = ("user", "item", "time", "rating")
ROWS = [(f"u{i % 5}", f"i{i % 7}", START_S + i, i % 5 + 0.5) for i in range(40)]


def lines(separator: str = ",", end: str = "\n", *, header: bool = True) -> str:
    """The log as text."""
    rows = [NAMES, *ROWS] if header else ROWS
    return "".join(separator.join(map(str, row)) + end for row in rows)


@pytest.fixture
def plain(tmp_path: Path) -> Log:
    (tmp_path / "plain.csv").write_text(lines())
    return Log.open(tmp_path / "plain.csv")


QUOTED_HEADER = '"user","item","time","rating"\n' + lines(header=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"\xef\xbb\xbf" + QUOTED_HEADER.encode()),
        ("a.csv", QUOTED_HEADER.encode("utf-16")),
        ("a.csv", b"\xfe\xff" + lines().encode("utf-16-be")),
        ("a.csv", lines(end="\r").encode()),
        ("a.csv", lines(end="\r").rstrip().encode()),
        ("a.csv", lines()[:300].replace("\n", "\r\n").encode() + lines()[300:].encode()),
        ("a.csv", b"\n\nsep=;\n" + lines(";").encode()),
        ("a.csv", lines().replace("user,item", '"User\nID","item"', 1).encode()),
        ("a.dat", lines("::").encode()),
        ("a.inter", lines(" ").encode()),
        ("a.txt", "\n".join("  " + line for line in lines("  \t ").splitlines()).encode()),
        ("a.csv", lines(" , ").encode()),
        ("a.csv", gzip.compress(lines().encode(), mtime=0)),
        ("a.csv.gz", gzip.compress(lines()[:500].encode()) + gzip.compress(lines()[500:].encode(), mtime=0)),
        ("a.csv.gz", lines().encode()),
        ("a.csv.GZ", gzip.compress(lines().encode(), mtime=0)),
        ("a.json", json.dumps([dict(zip(NAMES, row, strict=True)) for row in ROWS], indent=1).encode()),
        ("a.json", json.dumps([dict(zip(NAMES, row, strict=True)) for row in ROWS]).encode("utf-16")),
        ("rows", json.dumps([dict(zip(NAMES, row, strict=True)) for row in ROWS]).encode()),
    ],
)
def test_what_is_common_is_read(plain: Log, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    log = Log.open(tmp_path / name)
    assert log.mapping.columns.keys() == plain.mapping.columns.keys()
    assert same(read(log), read(plain))
    assert log.survey.dead == {}


def test_files_with_and_without_a_mark_are_one_log(plain: Log, tmp_path: Path) -> None:
    folder = tmp_path / "months"
    folder.mkdir()
    text = lines(header=False).splitlines(keepends=True)
    for month, start in enumerate(range(0, 40, 10)):
        content = '"user","item","time","rating"\n' + "".join(text[start : start + 10])
        (folder / f"{month}.csv").write_text(content, encoding="utf-8-sig" if month % 2 else "utf-8")
    assert same(read(Log.open(folder)), read(plain))


def test_a_first_line_of_data_between_colons_is_no_header(plain: Log, tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text(lines("::", header=False))
    said = Mapping.of([f"{role}=column{i + 1}" for i, role in enumerate(NAMES)])
    assert same(read(Log.open(tmp_path / "ratings.dat", mapping=said)), read(plain))
    with pytest.raises(
        InputError, match=r"its first line holds no names but 'u0', 'i0', '1500000000', '0.5'"
    ):
        Log.open(tmp_path / "ratings.dat")


@pytest.mark.parametrize("time", ["2017-07-14T02:40:00Z", "14.07.2017 02:40", "1500000000"])
def test_a_time_in_the_first_line_makes_it_an_event(tmp_path: Path, time: str) -> None:
    (tmp_path / "a.csv").write_text(f"ann;up;{time}\nbob;up;{time}\n")
    said = Mapping.of(["user=column1", "item=column2", "time=column3"])
    assert Log.open(tmp_path / "a.csv", mapping=said).rows == 2


def test_the_separator_is_the_one_by_which_the_lines_agree(tmp_path: Path) -> None:
    films = ["1::Up (2009)::Drama|Comedy|Animation", "2::A: B::Drama", '3::"::"::Drama|Horror']
    path = write_csv(tmp_path / "items.dat", "item::title::genres", films)
    log = Log.open(
        write_csv(tmp_path / "log.csv", "user,item,time", [f"1,{i},{START_S}" for i in (1, 2, 3)]), items=path
    )
    assert log.items is not None
    assert log.items.texts["title"] == ["Up (2009)", "A: B", "::"]


def test_a_decimal_comma_is_one_where_commas_separate_nothing(tmp_path: Path) -> None:
    rows = [f"u{i % 3};1,{i % 2};{START_S + i};{i % 5},5;48,25;2" for i in range(30)]
    log = Log.open(
        write_csv(tmp_path / "a.csv", "user;item;time;rating;lat;lon", [*rows, f"u;i;{START_S};1.234,5;;"])
    )
    events = read(log)
    assert events.rating_B[:5].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert set(events.lat_B.tolist()) == {48.25}
    assert {log.names[key] for key in events.item_B.tolist()} == {"1,0", "1,1"}
    assert "decimal comma in rating, lat: a number such as 3,5 is read as 3.5" in log.notes
    assert log.dead.counts == {"bad rating": 1}
    quoted = write_csv(
        tmp_path / "b.csv", "user,item,time,rating", [f'u,i,{START_S},"3,5"', f"u,i,{START_S},3"]
    )
    assert Log.open(quoted).survey.dead == {"bad rating": 1}


def test_decimal_commas_of_a_side_table_are_read(tmp_path: Path) -> None:
    log = write_csv(tmp_path / "log.csv", "user,item,time", [f"1,{i},{START_S}" for i in (1, 2)])
    items = write_csv(tmp_path / "items.csv", "item;price;tags", ["1;3,50;1,2", "2;4;3,4,5"])
    side = Log.open(log, items=items).items
    assert side is not None
    assert side.numbers["price"].tolist() == [3.5, 4]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab\\"[]{},\n é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a,"[', max_size=2), inner),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.text('k\\"', max_size=3), VALUES, max_size=3), max_size=5),
    st.sampled_from([None, 0, 2]),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_an_array_in_any_pieces_becomes_its_elements_one_a_line(
    rows: list[dict[str, Any]], indent: int | None, cuts: list[int]
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=False).encode() + b"\n"
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces: Iterator[bytes] = (text[a:b] for a, b in pairwise(ends))
    made = b"".join(lines_of_array(pieces)).split(b"\n")
    assert [json.loads(line) for line in made if line.strip()] == rows


def test_an_array_is_read_a_block_at_a_time(tmp_path: Path) -> None:
    rows = [{"user": i, "item": i, "time": START_S + i} for i in range(2000)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = list(blocks(tmp_path / "a.json", 1 << 10, lines_of_array, quotes=False))
    assert max(map(len, found)) < 3 << 10
    assert [json.loads(line) for line in b"".join(found).splitlines()] == rows


def test_a_damaged_element_of_an_array_is_set_aside_by_its_place(tmp_path: Path) -> None:
    good = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS]
    text = ",\n".join([*good[:10], '{"user": oops}', "[1]", *good[10:], '{"user": "torn'])
    (tmp_path / "a.json").write_text(f"[{text}")
    log = Log.open(tmp_path / "a.json")
    assert log.rows == 40
    assert log.survey.dead == {"malformed json": 2, "wrong type": 1}


def test_a_row_that_does_not_fit_is_set_aside_with_its_line(tmp_path: Path) -> None:
    text = lines().splitlines()
    text.insert(21, f"u1,i1,{START_S}")
    (tmp_path / "a.csv").write_text("\n".join(text))
    log = Log.open(tmp_path / "a.csv")
    list(log.batches(64, dead_letters=tmp_path))
    (letter,) = map(json.loads, (tmp_path / "dead_letters.jsonl").read_text().splitlines())
    assert (letter["row_number"], letter["reason"]) == (22, "wrong number of fields")
    assert letter["detail"] == "expected 4 cells separated by commas, got 3"


UNREAD = [
    (
        "a.csv",
        lines("^"),
        "expected columns separated by tabs, commas, semicolons, bars, '::' or blanks, found one column, "
        "'user^item^time^rating'; write the file with one of these between its cells",
    ),
    (
        "a.csv",
        "user item time\n" + "".join(f'"{i}" u{i} i{i} {START_S}\n' for i in range(9)),
        "9 of 9 rows have another number of cells than the first line, which has 3 separated by blanks (line "
        "2: expected 3 cells separated by blanks, got 4)",
    ),
    ("a.csv", "user,item,time\n" + "u,i,1500000000,x\n" * 6 + "u,i,1500000000\n" * 5, "6 of 11 rows"),
    (
        "a.csv",
        lines().encode("utf-16-le"),
        "looks like UTF-16LE without a byte order mark; write it anew: iconv -f UTF-16LE -t UTF-8",
    ),
    ("a.csv", lines().encode("utf-16-be"), "looks like UTF-16BE without a byte order mark"),
    (
        "a.json",
        json.dumps({"events": [{"user": 1}]}),
        "found one that holds them in 'events'; take them out: jq -c '.[\"events\"][]' FILE",
    ),
    ("a.json", '{\n "user": 1\n}\n{\n "user": 2\n}', "found one over several lines; put each on a line: jq"),
    (
        "a.csv",
        b"PK\x03\x04" + b"\0" * 99,
        "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    ),
    ("a.xlsx", b"PK\x03\x04" + b"\0" * 99, "found a zip archive or a spreadsheet"),
    (
        "a.parquet.gz",
        gzip.compress(b"PAR1 and more", mtime=0),
        "only text is read packed, by gzip too; unpack it",
    ),
    ("a.csv.bz2", b"BZh91AY&SY torn", "damaged bzip2 file"),
    ("a.csv.xz", b"\xfd7zXZ\0 torn", "damaged xz file"),
    ("a.csv.zst", b"\x28\xb5\x2f\xfd torn", "damaged zstd file"),
    ("a.csv.lz4", b"\x04\x22\x4d\x18 torn", "damaged lz4 file"),
    ("a.csv.br", b"torn", "damaged brotli file"),
]


@pytest.mark.parametrize(("name", "content", "message"), UNREAD)
def test_what_cannot_be_read_is_named_with_the_cure(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        Log.open(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_return_within_a_cell_ends_no_line_where_lines_end_otherwise(tmp_path: Path) -> None:
    text = lines().replace("u1,i1", "u1,i\r1", 1).replace("u2,i2", '"u\r2\n",i2', 1)
    (tmp_path / "a.csv").write_bytes(text.encode())
    log = Log.open(tmp_path / "a.csv")
    events = read(log)
    assert log.survey.dead == {}
    assert [log.names[key] for key in events.item_B[:3].tolist()] == ["i0", "i\r1", "i2"]
    assert log.names[int(events.user_B[2])] == "u\r2\n"


@pytest.mark.parametrize("name", ['say "time"', "a\\b", "a\nb", "\x00"])
def test_a_key_of_json_may_be_any_text(tmp_path: Path, name: str) -> None:
    rows = [{"user": i % 3, "item": i, name: START_S + i, "more": [1]} for i in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "[]\n")
    log = Log.open(tmp_path / "a.jsonl", mapping=Mapping({"time": name}))
    assert len(read(log)) == 20
    assert log.dead.counts == {"wrong type": 1}
