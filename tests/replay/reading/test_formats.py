"""One log in every format, in one file or many: the same events, bit for bit."""

import contextlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.log import Log
from replay.logs.planted import Planted, PlantedOptions, plant
from replay.reading.files import open_file
from replay.reading.lines import blocks
from replay.reading.separated import SeparatedFile
from replay.reading.writing import write_table
from state.errors import InputError
from streams.schema import concat_events
from tests.replay.events import read, same

FORMATS = ("a.parquet", "a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.jsonl.gz", "a.arrow")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(PlantedOptions(users=30, items=50, events=2000, late=0.2))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_events(planted: Planted, tmp_path: Path, name: str) -> None:
    write_table(planted.events, tmp_path / "first.parquet")
    write_table(planted.events, tmp_path / name)
    first, other = Log.open(tmp_path / "first.parquet"), Log.open(tmp_path / name)
    assert same(read(first), read(other))
    assert dict(first.names.items()) == dict(other.names.items())
    assert first.survey == other.survey


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_of_parts_is_the_same_log(planted: Planted, tmp_path: Path, name: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    write_table(planted.events, whole / name)
    for i, start in enumerate(range(0, 2000, 150)):
        write_table(planted.events.slice(start, 150), parts / f"{i:03}{name}")
    assert same(read(Log.open(whole)), read(Log.open(parts)))


def test_row_groups_and_chunks_do_not_matter(planted: Planted, tmp_path: Path) -> None:
    pq.write_table(planted.events, tmp_path / "a.parquet", row_group_size=77)
    stream, schema = str(tmp_path / "b.arrows"), planted.events.schema
    with pa.OSFile(stream, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in planted.events.to_batches(max_chunksize=33):
            writer.write_batch(batch)
    assert same(read(Log.open(tmp_path / "a.parquet")), read(Log.open(tmp_path / "b.arrows")))


@pytest.mark.parametrize(("size", "skip"), [(1, 0), (7, 0), (64, 13), (4096, 0), (100, 1999), (5, 2000)])
def test_batches_have_their_size_and_go_on_where_one_stopped(planted: Planted, size: int, skip: int) -> None:
    log = Log.open("planted:users=30,items=50,events=2000,late=0.2")
    batches = list(log.batches(size, skip))
    sizes = [len(batch) for batch in batches]
    assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert sum(sizes) == 2000 - skip
    if batches:
        whole = read(log, 512).take(slice(skip, None))
        assert same(concat_events(batches), whole)
        assert batches[0].offset_B[0] == skip


def test_the_separator_is_found_and_a_first_line_of_data_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user;item;time\n1;2;1500000000\n")
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n")
    assert open_file(tmp_path / "a.csv").columns == ["user", "item", "time"]
    bare = open_file(tmp_path / "u.data")
    assert bare.columns == ["column1", "column2", "column3", "column4"]
    assert [len(chunk) for chunk in bare.chunks(bare.columns)] == [1]


def test_rows_may_span_lines_and_bad_quotes_cost_one_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('user,item,text\n1,2,"two\nlines"\n3,4,5" pipe\n"5,6,torn\n7,8,"a ""word"""\r\n\n9,10,\n')
    chunk = next(SeparatedFile(path).chunks(["user", "text"]))
    assert chunk.columns["user"].to_pylist() == ["1", "3", "7", "9"]
    assert chunk.columns["text"].to_pylist() == ["two\nlines", '5" pipe', 'a "word"', None]
    assert chunk.number_B.tolist() == [2, 4, 6, 8]
    assert [(row.number, row.reason) for row in chunk.bad] == [(5, "wrong number of fields")]


def test_blocks_end_with_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"".join(b'%d,"a\nb"\n' % i for i in range(50)))
    found = list(blocks(path, size=64))
    assert b"".join(found) == path.read_bytes()
    assert all(block.count(b'"') % 2 == 0 for block in found)


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("litter", [b"\xff", b"\0" * 8, b"\n", b"\xff\xff\xff\x7f"])
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, name: str, share: float, litter: bytes) -> None:
    table = pa.table({"user": ["ann", "bo"] * 20, "item": list(range(40)), "time": [1_500_000_000] * 40})
    write_table(table, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    at = int(len(content) * share)
    (tmp_path / name).write_bytes(content[:at] + litter + content[at + 1 :])
    with contextlib.suppress(InputError):
        log = Log.open(tmp_path / name)
        assert len(read(log)) + len(log.dead) <= 40


def test_latin_1_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("user,item,time\nRené,é,1500000000\nRené\n".encode("latin-1"))
    log = Log.open(tmp_path / "a.csv")
    assert log.names[int(read(log).user_B[0])] == "René"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\0\1\2" * 100, "expected text, found binary data"),
        ("a.csv", b"user,item,time\n", "the log holds no events"),
        (
            "a.csv",
            b"user,item,time\n1,2\n3\n",
            "2 of 2 rows have another number of cells than the first line, which has 3 separated by commas",
        ),
        ("a.csv", b"user,item,time\n,,1500000000\n", "not one of its rows is an event (1 x no user)"),
        ("a.csv.gz", b"nogzip", "found one column, 'nogzip'"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00torn", "damaged gzip file"),
        ("a.parquet", b"PAR1 and no more", "no readable Parquet file"),
        ("a.arrow", b"ARROW1 and no more", "no readable Arrow IPC file"),
        ("a.jsonl", b"hello\n", "expected objects, one a line or in one array, found none"),
        ("a.xlsx", b"PK", "the format is not known; expected Parquet, CSV, TSV, JSON lines or Arrow IPC"),
    ],
)
def test_junk_under_a_good_name_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Log.open(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_log_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; give a log's path, or a name that"):
        Log.open(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"the known ones are completejourney, movielens-100k, .*, planted"):
        Log.open("movielens-99k")
