"""Every benchmark runs to its bars: its quick form is the long one with smaller options.

And the page on benchmarks shows what they print: rows and columns by the same names, each table below the
command that gives it.
"""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.__main__ import ALL, NAMES, benchmark, main, measured
from benchmarks.tables import BARS, Bar, Tables, faults, held_against
from benchmarks.telling import Telling
from ebbtide.services import control
from state.errors import InputError

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
LIVE = [name for name in NAMES if name.startswith("live")]
PEERLESS = sys.version_info >= (3, 13)
"""bytewax has no wheel for this Python."""
TRIED = [pytest.param(name, marks=[pytest.mark.flink] if name == "flink" else []) for name in NAMES]
Quick = Callable[[str], Tables]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    """A benchmark's quick form, which runs once. The live ones share services, which one of them kills."""
    folder = tmp_path_factory.mktemp("services of benchmarks")

    @cache
    def run(name: str) -> Tables:
        return measured(name, {}, quick=True, services=folder if name in LIVE else None)

    yield run
    control.down(folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TRIED)
def test_a_quick_form_runs_to_its_bars(name: str, quick: Quick) -> None:
    if name == "window" and PEERLESS:
        with pytest.raises(InputError, match=r"bytewax is not installed"):
            quick(name)
        return
    tables = quick(name)
    bars = benchmark(name).bars
    assert [row["what"] for row in tables.get(BARS, [])] == [bar.what for bar in bars]
    assert faults(tables, bars) == []
    for title, rows in tables.items():
        assert rows, title
        assert all(list(row) == list(rows[0]) for row in rows), title
        assert len({row["what"] for row in rows}) == len(rows), title


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TRIED)
def test_the_page_shows_what_is_printed(name: str, quick: Quick) -> None:
    if name == "window" and PEERLESS:
        pytest.skip("bytewax has no wheel for this Python")
    printed = quick(name)
    whats = {_same(str(row["what"])) for rows in printed.values() for row in rows}
    columns = {_same(column) for rows in printed.values() for row in rows for column in row}
    for command, header, rows in _tables():
        if command.split()[:4] == ["python", "-m", "benchmarks", name]:
            assert {_same(cell) for cell in header[1:]} - columns == set(), command
            assert {_same(row[0]) for row in rows} - whats == set(), command


def test_every_table_of_the_page_names_its_command() -> None:
    for command, header, _ in _tables():
        assert re.match(r"python -m (benchmarks|tests)|ebbtide replay|make |No command", command), header


def test_every_benchmark_has_its_place_on_the_page() -> None:
    page = PAGE.read_text()
    assert [name for name in NAMES if f"python -m benchmarks {name}" not in page] == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: str(p.name)
)
def test_a_command_on_a_page_can_be_given(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in re.findall(r"`python -m benchmarks ([^`]*)`", page.read_text().replace("\n", " ")):
        name, *options = words.split()
        if name == "NAME":
            continue
        assert name in NAMES, words
        known = {f"--{option}" for option in benchmark(name).options} | {"--quick", "--json"}
        assert {word for word in options if word.startswith("--")} <= known, words


def test_the_command_prints_tables_and_says_what_it_does() -> None:
    command = [sys.executable, "-m", "benchmarks", "store", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "1. 1,000 vectors of 33 numbers, 1 rounds ..." in done.stderr
    assert "redis-py pipeline of HSET" in done.stdout
    assert "vectors of 33 numbers a second" in done.stdout


def test_several_are_one_object(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "fuzz", "--quick", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert list(found) == ["store", "fuzz"]
    assert set(found["fuzz"]) == {"machine", "cases by kind", "all cases", "bars"}


def test_a_long_run_in_processes_of_its_own_tries_the_quick_form_first(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = "planted:users=20,items=20,events=400"
    assert main(["completejourney", "--log", log, "--json"]) == 0
    said = capfd.readouterr()
    assert re.findall(r"\d\. (.*) \.\.\.", said.err) == ["trying the quick form", "stim, strict (1 s)"]
    assert json.loads(said.out)["time, file to report"][0]["events"] == 400


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["window", "--help"])
    assert "beside bytewax" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name in NAMES:
        assert re.search(rf"^  {'[*]' if name in ALL else ' '} {name} ", said, re.MULTILINE), name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["windw"], "windw: expected names of start, window, wire"),
        (["foursquare"], "foursquare: expected --foursquare, or --quick"),
    ],
)
def test_what_cannot_be_run_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(said)


TABLES: Tables = {"speed": [{"what": "ours", "rate": 3.0}, {"what": "theirs", "rate": None}]}


@pytest.mark.parametrize(
    ("bar", "said"),
    [
        (Bar("b", "sped", "ours", "rate", 1), "bar 'b': no table is named 'sped'; there are 'speed'"),
        (Bar("b", "speed", "us", "rate", 1), "no row of 'speed' is named 'us'; there are 'ours', 'theirs'"),
        (
            Bar("b", "speed", "ours", "auc", 1),
            "no column of 'speed' is named 'auc'; there are 'what', 'rate'",
        ),
        (Bar("b", "speed", "ours", "what", 1), "expected a number at 'ours', got 'ours'"),
    ],
)
def test_a_bar_says_what_it_does_not_find(bar: Bar, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        held_against(TABLES, (bar,))


def test_a_bar_is_held_against_a_figure() -> None:
    bars = (
        Bar("at least", "speed", "ours", "rate", 3.0, must=True),
        Bar("at most", "speed", "ours", "rate", 2.0, least=False, must=True),
        Bar("unknown", "speed", "theirs", "rate", 0.0),
    )
    held = held_against(TABLES, bars)
    assert [row["met"] for row in held[BARS]] == [True, False, False]
    assert faults(held, bars) == ["at most: expected at most 2, got 3.0"]


def test_a_bar_that_finds_nothing_is_said_with_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import fuzz

    lost = dataclasses.replace(fuzz.BENCHMARK, bars=(Bar("b", "cases by kind", "tale", "cases", 1),))
    monkeypatch.setattr(fuzz, "BENCHMARK", lost)
    assert main(["fuzz", "--quick", "--seconds", "0"]) == 2
    said = capsys.readouterr()
    assert "no row of 'cases by kind' is named 'tale'; there are 'log', 'twin'" in said.err
    assert "cases by kind" in said.out


def test_a_terminal_sees_how_far_a_step_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Telling(Console(force_terminal=True, width=80)).step("learning") as step:
        step.say("round 2")
        step.reached(0.5)
    said = capsys.readouterr().out
    assert "1. learning: round 2" in said
    assert "0:00:0" in said


def _tables() -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """The page's tables: the command before each, its header, its rows."""
    command, table = "", list[list[str]]()
    for line in [*PAGE.read_text().splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        if table:
            yield command, table[0], table[2:]
            table = []
        for found in re.findall(r"`((?:python -m|ebbtide replay|make) [^`]*)(?:`|$)|(No command)", line):
            command = "".join(found)
        if line.startswith("## "):
            command = ""


def _same(text: str) -> str:
    """A name in a table, whatever numbers it has and however it is set."""
    return re.sub(r"\d[\d,.]*", "#", re.sub(r"[*`]", "", text)).strip()
