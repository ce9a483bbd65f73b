"""What a newcomer waits for: what commands cost before they do anything, and how long they are silent.

Each command runs at a (pseudo-)terminal of its own. "CPU-s to the first event" is what a replay has used when
it says that events pass. A silence is a time in which nothing is written, in wall seconds; "silent CPU-s" is
the most that was computed between two words: the silence, on an idle machine, of what computes. A replay with
nothing kept has all its kernels to compile. The live commands run on a broker and a store of their own, and
are ended by Ctrl-C. Five minutes; the quick form has no kernels to compile and nothing live.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.at_terminal import Seen, seen
from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.live_bed import bed
from benchmarks.tables import Bar, Row, Tables
from ebbtide import api
from replay.logs import fetch

TITLE = "at a terminal"
ALL = "the longest of all"
REPLAY, HELP, USER = "replay", "--help", "query user"
_PASSING = rb"\d events"
_LIVE_S = 12.0
"""How long what would go on for ever goes on."""
_SERVED_S = 1.0
"""The same of a server, which has nothing more to say."""


def measure(bench: Bench, *, log: str, limit: int, cold: int, live: int) -> Tables:
    rows: list[Row] = []

    def run(what: str, *words: object, **options: Any) -> None:
        with bench.telling.step(what):
            rows.append(_row(what, seen([*map(str, words)], **options)))

    with tempfile.TemporaryDirectory() as folder:
        out, checkpoint = Path(folder) / "out", Path(folder) / "checkpoint"
        replay = ("replay", log, "--limit", limit, "--out", out)
        run(HELP, "--help")
        if cold:
            kept = {"XDG_CACHE_HOME": str(Path(folder) / "kept"), "EBBTIDE_DATA": str(fetch.data_folder())}
            run("replay, nothing kept", *replay, environment=kept, sign=_PASSING)
        run("data inspect", "data", "inspect", log)
        run(REPLAY, *replay, sign=_PASSING)
        user = _user(log, limit)
        run(USER, "query", "user", user, "--from", out)
        run("query recommend", "query", "recommend", user, "--from", out)
        run("monitor", "monitor", "--from", out)
        if live:
            with bed(bench) as at:
                addresses = ("--brokers", at.brokers)
                run("replay --to", "replay", log, "--limit", limit, "--to", f"kafka://{at.brokers}/events")
                run("ingest", "ingest", *addresses, stop_after_s=_LIVE_S)
                both = (*addresses, "--store", at.store)
                run("train", "train", *both, "--checkpoint", checkpoint, stop_after_s=_LIVE_S)
                run("status", "status", *both)
                run("serve", "serve", "--from", at.store, "--port", 0, stop_after_s=_SERVED_S)
    longest = {column: max(float(row[column] or 0.0) for row in rows) for column in _SILENCES}
    return {TITLE: [*rows, {**dict.fromkeys(rows[0]), "what": ALL, **longest}]}


_SILENCES = ("longest silence, s", "silent CPU-s")


def _row(what: str, of: Seen) -> Row:
    return {
        "what": what,
        "CPU-s to the first event": of.cpu_to_sign_s,
        "CPU-s in all": of.cpu_s,
        _SILENCES[0]: of.silence_s,
        "its last words": of.before,
        _SILENCES[1]: of.silent_cpu_s,
    }


def _user(log: str, limit: int) -> str:
    """Who is in the log."""
    opened = api.open_log(log, limit=limit)
    return opened.names[int(next(opened.batches(1)).user_B[0])]


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(
            help="a log",
            default="movielens-100k",
            quick="planted:users=20,items=20,events=400",
            metavar="LOG",
        ),
        "limit": Option(help="events of it", default=5000, quick=400, kind=int),
        "cold": Option(
            help="1: also a replay with nothing kept", default=1, quick=0, kind=int, metavar="0|1"
        ),
        "live": Option(help="1: also the live commands", default=1, quick=0, kind=int, metavar="0|1"),
    },
    bars=(
        Bar("CPU-s before the first event", TITLE, REPLAY, "CPU-s to the first event", 2.0, least=False),
        Bar("CPU-s of --help", TITLE, HELP, "CPU-s in all", 0.3, least=False),
        Bar("CPU-s of query user", TITLE, USER, "CPU-s in all", 1.0, least=False),
        Bar("the longest silence, s", TITLE, ALL, _SILENCES[0], 2.0, least=False),
        Bar("the longest silence of what computes, CPU-s", TITLE, ALL, _SILENCES[1], 2.0, least=False),
    ),
)
