"""The main job through its public doors: replay a log, look at the report, ask for what was learned."""

import json
import os
import re
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import ebbtide
from ebbtide.config import RunConfig
from replay.logs.planted import PlantedOptions, plant
from replay.reading.writing import write_table
from serving.run import Run
from state.store.embedded import open_store
from tests.ebbtide.typed import EBBTIDE, run, typed
from tests.patience import until

LOG = "planted:users=40,items=60,events=3000"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replayed planted log."""
    folder = tmp_path_factory.mktemp("run")
    ebbtide.replay(LOG, folder)
    return folder


def test_the_report_has_what_scripts_rely_on(out: Path) -> None:
    report = json.loads((out / "report.json").read_text())
    events = report["events"]
    assert events == {
        **{"read": 3000, "used": 3000, "dead_letters": 0},
        **{"duplicates": 0, "late": 0, "left_out": 0},
    }
    for part in (report["metrics"]["all"], report["metrics"]["scored"], *report["metrics"]["windows"]):
        names = ("auc", "user_auc", "log_loss", "normalized_entropy", "calibration_error", "mrr", "ndcg@10")
        assert {*names, "recall@1", "recall@10", "recall@50"} <= set(part)
    assert report["metrics"]["all"]["auc"] > 0.55
    assert report["metrics"]["scored"]["recall@10"] > 0.1
    for key in ("seconds", "cpu_seconds", "events_per_second", "events_per_cpu_second", "peak_rss_mb"):
        assert report[key] > 0
    assert re.fullmatch(r"[0-9a-f]{32}", report["state_digest"])
    assert report["config"]["seed"] == 0
    assert "python" in report["versions"]
    assert isinstance(report["drift"], list)
    assert {one["name"] for one in report["learners"] if one["floor"]} == {
        "rates",
        "popular",
        "habits",
        "successors",
    }


def test_the_page_needs_nothing_from_elsewhere(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert not re.search(r"(src|href)=[\"'](https?:)?//", page)


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet", ".arrow"])
def test_every_format_gives_the_same_state(kind: str, tmp_path: Path) -> None:
    table = plant(PlantedOptions(users=20, items=30, events=600)).events
    write_table(table, tmp_path / f"log{kind}")
    whole = ebbtide.replay(tmp_path / f"log{kind}", tmp_path / "whole")
    reference = tmp_path / "reference.parquet"
    write_table(table, reference)
    assert whole.state_digest == ebbtide.replay(reference, tmp_path / "other").state_digest


def test_a_folder_of_pieces_gives_the_same_state_as_one_file(tmp_path: Path) -> None:
    table = plant(PlantedOptions(users=20, items=30, events=600)).events
    (tmp_path / "pieces").mkdir()
    for number, start in enumerate((0, 7, 300)):
        stop = (7, 300, 600)[number]
        write_table(table.slice(start, stop - start), tmp_path / "pieces" / f"{number}.csv")
    write_table(table, tmp_path / "whole.csv")
    pieces = ebbtide.replay(tmp_path / "pieces", tmp_path / "a")
    assert pieces.state_digest == ebbtide.replay(tmp_path / "whole.csv", tmp_path / "b").state_digest


def test_the_same_seed_gives_the_same_state_and_another_gives_another(tmp_path: Path) -> None:
    small = "planted:users=20,items=30,events=600"
    digests = [
        ebbtide.replay(small, tmp_path / name, seed=seed).state_digest
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_who_is_silent_for_long_is_forgotten_and_the_report_says_so(tmp_path: Path) -> None:
    def users(expire: str, batch: int) -> tuple[int, int]:
        out = tmp_path / f"{expire}-{batch}"
        report = ebbtide.replay(LOG, out, learner="successors", floors=False, expire=expire, batch=batch)
        assert report.user_memory is not None
        assert report.user_memory.bytes_per_user > 100
        return report.user_memory.users, report.user_memory.expired

    assert users("52w", 100) == (40, 0)
    held, expired = users("6h", 100)
    assert held < 40
    assert expired > 100
    assert users("6h", 16) == (held, expired)


def test_under_a_delay_beyond_the_log_nothing_was_known(tmp_path: Path) -> None:
    report = ebbtide.replay("planted:users=20,items=30,events=600,days=10", tmp_path, label_delay="30d")
    assert report.metrics.all.auc == 0.5
    assert report.metrics.all.recall_at_50 == 0.0


def test_killed_and_resumed_it_ends_like_a_run_that_was_not(tmp_path: Path) -> None:
    """Three kills -9, whenever a new checkpoint has been there for a while that a seed decides."""
    whole = ebbtide.replay(LOG, tmp_path / "whole", batch=64)
    command = [*EBBTIDE, "replay", LOG, "--out", str(tmp_path / "out"), "--batch", "64", "--quiet"]
    command += ["--checkpoint", str(tmp_path / "saved"), "--every", "200", "--resume", "--speed", "800000"]
    for wait_s in (0.05, 0.0, 0.4):
        before = _newest(tmp_path / "saved")
        process = subprocess.Popen(command, start_new_session=True)
        until(lambda: _newest(tmp_path / "saved") != before or process.poll() is not None)  # noqa: B023
        time.sleep(wait_s)
        done = process.poll() == 0
        if not done:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert done or _newest(tmp_path / "saved") != before
    resumed = ebbtide.replay(
        LOG, tmp_path / "out", batch=64, checkpoint=tmp_path / "saved", every=200, resume=True
    )
    assert resumed.state_digest == whole.state_digest
    assert resumed.metrics.all == whole.metrics.all
    assert resumed.events == whole.events
    assert resumed.drift == whole.drift
    assert _published(tmp_path / "out") == _published(tmp_path / "whole")


def test_a_folder_that_another_run_writes_into_is_refused_with_who_that_is(tmp_path: Path) -> None:
    """Be it the reports' or the checkpoints'; once that run has ended, however, the folder is free."""
    small, saved = ("planted:users=20,items=30,events=600", "--quiet"), tmp_path / "saved"
    out, other = tmp_path / "out", tmp_path / "other"
    command = [*EBBTIDE, "replay", *small, "--out", str(out), "--checkpoint", str(saved), "--speed", "1"]
    first = subprocess.Popen(command)
    try:
        until(
            lambda: first.poll() is not None or ((saved / "lock").exists() and (saved / "lock").read_text())
        )
        assert first.poll() is None
        asked = [
            ("--out", out, ()),
            ("--checkpoint", saved, ("--out", other)),
            ("--checkpoint", out, ("--out", other)),
        ]
        for option, folder, more in asked:
            refused = run("replay", *small, option, folder, *more, check=2)
            assert f"{option} {folder}: another run writes here (process {first.pid});" in refused.stderr
            assert "stop it first, or give each a folder of its own" in refused.stderr
    finally:
        first.kill()
        first.wait()
    run("replay", *small, "--out", out, "--checkpoint", saved)


def _published(out: Path) -> tuple[int, list[str], list[list[float]], list[list[float]]]:
    with Run(open_store(out)) as answers:
        items = answers.store.items()
        return answers.store.version(), items.ids, items.vectors_ND.tolist(), answers.user("u1").interests


def _newest(folder: Path) -> str:
    return max((path.name for path in folder.glob("checkpoint-*")), default="")


def test_settings_are_taken_as_they_are_from_a_file_or_by_name(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('learner = "gaussian"\nbatch = 32\n')
    config = RunConfig(learner="gaussian", batch=64, floors=False)
    reports = [
        ebbtide.replay(LOG, tmp_path / "whole", config, batch=32),
        ebbtide.replay(LOG, tmp_path / "file", tmp_path / "run.toml", floors=False),
        ebbtide.replay(LOG, tmp_path / "names", learner="gaussian", batch=32, floors=False),
    ]
    assert len({report.state_digest for report in reports}) == 1
    assert reports[0].config == reports[2].config
    with pytest.raises(ebbtide.InputError, match="lerner"):
        ebbtide.replay(LOG, tmp_path / "wrong", lerner="gaussian")  # type: ignore[call-arg]


def test_a_checkpoint_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """It names learners and fields, and no module: where code lies is no part of a state.

    Made on 2026-11-29 by the same command, killed after its first checkpoint. What is learned from then on is
    today's to say, so it ends near a run of today's, and always in the same state.
    """
    log = "planted:users=20,items=20,events=400"
    whole = ebbtide.replay(log, tmp_path / "whole", batch=16)
    ends = []
    for name in ("one", "other"):
        with tarfile.open(Path(__file__).with_name("checkpoint_2026_11_29.tar.xz")) as kept:
            kept.extractall(tmp_path / name, filter="data")
        folder = tmp_path / name
        ends.append(
            ebbtide.replay(log, tmp_path / "out", batch=16, checkpoint=folder, every=200, resume=True)
        )
    assert ends[0].state_digest == ends[1].state_digest
    assert ends[0].events.used == whole.events.used
    assert ends[0].metrics.all.ndcg_at_10 == pytest.approx(whole.metrics.all.ndcg_at_10, abs=0.03)


def test_a_checkpoint_of_another_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).with_name("checkpoint_of_layout_2.tar.xz")) as kept:
        kept.extractall(tmp_path / "saved", filter="data")
    options = {"batch": 16, "checkpoint": tmp_path / "saved", "every": 200, "resume": True}
    with pytest.raises(ebbtide.InputError, match=r"stim was saved in layout 2 .* begin anew without it"):
        ebbtide.replay("planted:users=20,items=20,events=400", tmp_path / "out", **options)  # type: ignore[arg-type]


def test_a_river_model_runs_but_has_no_checkpoint(tmp_path: Path) -> None:
    small = "planted:users=20,items=30,events=600"
    report = ebbtide.replay(small, tmp_path / "a", learner="river-ftrl")
    assert report.predictor == "river-ftrl"
    assert report.metrics.all.auc is not None
    assert any("without river-ftrl" in note for note in report.notes)
    with pytest.raises(ebbtide.InputError, match="'river-ftrl' cannot be saved"):
        ebbtide.replay(small, tmp_path / "b", learner="river-ftrl", checkpoint=tmp_path / "saved")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    small = "planted:users=20,items=30,events=600"
    ebbtide.replay(small, tmp_path / "a", checkpoint=tmp_path / "saved", every=100)
    with pytest.raises(ebbtide.InputError, match="another log or other settings"):
        ebbtide.replay(small, tmp_path / "a", checkpoint=tmp_path / "saved", resume=True, seed=5)


def test_an_old_checkpoint_serves_where_the_newest_was_harmed(tmp_path: Path) -> None:
    small = "planted:users=20,items=30,events=600"
    whole = ebbtide.replay(small, tmp_path / "a", checkpoint=tmp_path / "saved", every=100, batch=50)
    harmed = tmp_path / "saved" / _newest(tmp_path / "saved") / "state.safetensors"
    harmed.write_bytes(harmed.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="refused"):
        again = ebbtide.replay(
            small, tmp_path / "a", checkpoint=tmp_path / "saved", every=100, batch=50, resume=True
        )
    assert again.state_digest == whole.state_digest


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("replay", "nowhere.csv", "--out", "{tmp}"), "nowhere.csv"),
        (("replay", "{tmp}/junk.parquet", "--out", "{tmp}"), "junk.parquet"),
        (("replay", "{tmp}/empty.csv", "--out", "{tmp}"), "empty.csv"),
        (("replay", LOG, "--out", "{tmp}", "--map", "user=nobody"), "nobody"),
        (("replay", LOG, "--out", "{tmp}", "--label", "rating>>4"), "rating>>4"),
        (("replay", LOG, "--out", "{tmp}", "--learner", "oracle"), "oracle"),
        (("replay", LOG, "--out", "{tmp}", "--label-delay", "soon"), "soon"),
        (("replay", LOG, "--out", "{tmp}", "--leave-out", "some"), "leave_out"),
        (("replay", LOG, "--out", "{tmp}", "--expire", "0s"), "memory.expire_ms: expected at least 1"),
        (
            ("replay", LOG, "--out", "{tmp}", "--expire", "9d", "--sync-every", "1h"),
            "leave out one of the two",
        ),
        (("replay", LOG, "--out", "{tmp}", "--config", "{tmp}/none.toml"), "none.toml"),
        (("replay", LOG, "--out", "{tmp}", "--store", "redis://127.0.0.1:1"), "127.0.0.1:1"),
        (("replay", LOG, "--out", "{tmp}", "--resume"), "--checkpoint"),
        (("query", "user", "u1", "--from", "{tmp}"), "no embeddings"),
        (("data", "inspect", "nowhere.csv"), "nowhere.csv"),
        (("monitor", "--from", "{tmp}"), "report.json"),
    ],
)
def test_what_the_caller_can_mend_is_said_in_words_with_exit_code_2(
    args: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "junk.parquet").write_bytes(b"this is no parquet file" * 100)
    (tmp_path / "empty.csv").write_text("user,item,time\n")
    done = run(*(arg.replace("{tmp}", str(tmp_path)) for arg in args), check=2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 8


def test_a_process_says_so_too(tmp_path: Path) -> None:
    assert "nowhere.csv" in typed("replay", "nowhere.csv", "--out", tmp_path, check=2).stderr


def test_query_answers_in_the_shapes_that_scripts_rely_on(out: Path) -> None:
    item = json.loads(run("query", "recommend", "u1", "--from", out, "-k", "3", "--json").stdout)
    assert set(item) == {"user", "version", "items", "by"}
    assert len(item["items"]) == 3
    assert set(item["items"][0]) == {"item", "score", "why"}
    user = json.loads(run("query", "user", "u1", "--from", out, "--json").stdout)
    assert set(user) == {"user", "version", "event_time", "interests"}
    assert all(isinstance(x, float) for x in user["interests"][0])
    first = item["items"][0]["item"]
    similar = json.loads(run("query", "similar", first, "--from", out, "-k", "4", "--json").stdout)
    assert set(similar) == {"item", "items"}
    assert set(similar["items"][0]) == {"item", "score"}
    assert "item" in json.loads(run("query", "item", first, "--from", out, "--json").stdout)


def test_an_unknown_user_gets_what_is_popular_and_exit_code_3(out: Path) -> None:
    done = run("query", "recommend", "nobody", "--from", out, "-k", "2", "--json", check=3)
    answer = json.loads(done.stdout)
    assert len(answer["items"]) == 2
    assert "popular" in answer["items"][0]["why"][0]["reason"]
    run("query", "similar", "nothing", "--from", out, check=3)
    run("query", "user", "nobody", "--from", out, check=3)


def test_another_hour_and_place_give_another_ranking(out: Path) -> None:
    with Run(open_store(out)) as answers:
        plain = answers.recommend("u1", 20)
        record = answers.store.user("u1")
        assert record is not None
        later = answers.recommend("u1", 20, at_ms=record.event_time_ms + 11 * 3_600_000)
    assert [one.item for one in plain.items] != [one.item for one in later.items]


def test_data_list_and_inspect_and_monitor(out: Path, tmp_path: Path) -> None:
    names = {row["name"] for row in json.loads(run("data", "list", "--json").stdout)}
    assert {"completejourney", "movielens-100k", "planted"} <= names
    write_table(plant(PlantedOptions(users=20, items=30, events=600)).events, tmp_path / "log.csv")
    found = json.loads(run("data", "inspect", tmp_path / "log.csv", "--json").stdout)
    assert found["survey"]["rows"] == 600
    watched = json.loads(run("monitor", "--from", out, "--json").stdout)
    assert set(watched) == {"drift", "actions", "embeddings", "windows"}


def test_a_redis_url_takes_the_place_of_the_embedded_server(tmp_path: Path) -> None:
    from state.store.server import EmbeddedServer

    server = EmbeddedServer(tmp_path / "redis")
    url = f"unix://{server.ensure()}"
    try:
        ebbtide.replay("planted:users=20,items=30,events=600", tmp_path / "out", store=url)
        answer = json.loads(run("query", "recommend", "u1", "--from", url, "--json").stdout)
        assert answer["user"] == "u1"
        assert not (tmp_path / "out" / "store").exists()
    finally:
        server.stop()
