"""--ablate and --sync-every through the public doors: what is compared, printed, written and drawn."""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import ebbtide
from ebbtide.commands.app import app
from ebbtide.report import page as html
from ebbtide.report import terminal
from ebbtide.report.comparisons import sign, worth
from ebbtide.report.report import Report, read
from learners.contract import Context
from learners.judging.metrics import METRICS
from learners.systems.gaussian import GaussianRows, Variances
from learners.systems.twotower import TwoTower
from state.difference import Difference

LOG = "planted:users=40,items=60,events=3000,days=20"
SMALL = "planted:users=20,items=30,events=600,days=10"
NO_LABELS = "planted:users=40,items=60,events=2000,days=20,labels=0"


def invoked(*args: object) -> tuple[int, str]:
    """Exit code and what was said, as `main` would say it."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if isinstance(result.exception, ebbtide.EbbtideError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def said_on(width: int, report: Report) -> str:
    out = io.StringIO()
    terminal.summary(Console(file=out, width=width), report, Path("out"))
    return out.getvalue()


def plots(report: Report) -> list[str]:
    return re.findall(r"<svg[^>]*><title>([^<]*)</title>", html.render(report))


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaussian rows with parts to switch off: one that matters, one that this log cannot feed, one nested."""
    off: Mapping[str, Mapping[str, Any]] = {
        "no rows": {"variance": {kind: 0.0 for kind in Variances.__struct_fields__ if kind != "hour"}},
        "no user categories": {"variance": {"user_category": 0.0, "item_user_category": 0.0}},
        "as it is": {},
    }
    monkeypatch.setattr(GaussianRows, "ablations", off)


@pytest.mark.usefixtures("parts")
def test_ablate_says_what_each_part_is_worth(tmp_path: Path) -> None:
    report = ebbtide.replay(LOG, tmp_path, ablate=True, learner="gaussian")
    found = report.ablation
    assert found is not None
    assert found.learner == "gaussian"
    assert found.scored.auc == report.metrics.scored.auc
    variants = {variant.name: variant for variant in found.variants}
    assert set(variants) == {"no rows", "no user categories", "no actions"}
    assert variants["no actions"].verdict == "never acted"
    auc = next(one for one in variants["no rows"].differences if one.metric == "auc")
    assert auc.high is not None
    assert auc.high < 0
    assert found.scored.auc is not None
    assert auc.value == pytest.approx(found.scored.auc + auc.difference)
    assert variants["no rows"].verdict == "earns its place"
    assert variants["no user categories"].verdict == "worth nothing here"
    assert [one.name for one in report.learners if not one.floor] == ["gaussian", "twotower"]
    assert read(tmp_path / "report.json") == report
    for width in (80, 120):
        said = said_on(width, report)
        assert "no user categories" in " ".join(said.split())
        assert re.search(rf"{auc.difference:+.4f} ±0\.0\d{{3}}", said)
        assert max(len(line) for line in said.splitlines()) <= width
    drawn = plots(report)
    assert {"AUC: variant minus gaussian", "log loss: variant minus gaussian"} <= set(drawn)
    assert "worth nothing here" in html.render(report)


@pytest.mark.usefixtures("parts")
def test_a_variant_goes_on_from_a_checkpoint_and_changes_nothing_of_the_model(tmp_path: Path) -> None:
    def run(out: str, **options: Any) -> Report:
        return ebbtide.replay(SMALL, tmp_path / out, learner="gaussian", **options)

    saved = tmp_path / "saved"
    plain = run("plain")
    whole = run("whole", ablate=True, batch=16, checkpoint=saved, every=200)
    resumed = run("whole", ablate=True, batch=16, checkpoint=saved, resume=True)
    assert resumed.ablation == whole.ablation
    assert plain.metrics == whole.metrics
    assert (plain.ablation, plain.staleness) == (None, None)


def test_settings_of_the_config_file_hold_for_variants_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, float]] = []

    def ablations_for(cls: type[TwoTower], context: Context) -> Mapping[str, Mapping[str, Any]]:
        assert not context.labelled
        return {"no learning": {"lr": 0.0, "bias_lr": 0.0}}

    def spy(self: TwoTower, config: Any, context: Context) -> None:
        seen.append((config.width, config.lr))
        init(self, config, context)

    init = TwoTower.__init__
    monkeypatch.setattr(TwoTower, "ablations_for", classmethod(ablations_for))
    monkeypatch.setattr(TwoTower, "__init__", spy)
    (tmp_path / "c.toml").write_text("[learners.twotower]\nwidth = 4\nlr = 0.05\n")
    report = ebbtide.replay(
        NO_LABELS, tmp_path, ablate=True, learner="twotower", config=tmp_path / "c.toml", floors=False
    )
    assert set(seen) == {(4, 0.05), (4, 0.0)}
    assert report.ablation is not None
    assert report.ablation.variants[0].verdict == "earns its place"
    assert "recall@10: variant minus twotower" in plots(report)


def test_a_model_without_parts_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianRows, "ablations", {"as it is": {}})
    monkeypatch.setattr(GaussianRows, "doubts", False)
    code, said = invoked("replay", SMALL, "--out", tmp_path, "--ablate", "--learner", "gaussian")
    assert code == 2
    assert "--ablate: gaussian has no part" in said
    assert "gaussian" in said.split("one of:")[1]


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("stale")
    return out, ebbtide.replay(LOG, out, learner="gaussian", sync_every="6h,immediate,1d,10d", batch=64)


def test_sync_every_says_what_freshness_is_worth(stale: tuple[Path, Report]) -> None:
    out, report = stale
    found = report.staleness
    assert found is not None
    for learner in ("gaussian", "twotower"):
        copies = found.find(learner)
        assert [(copy.sync, copy.sync_s) for copy in copies] == [
            ("immediate", 0.0),
            ("6h", 21600.0),
            ("1d", 86400.0),
            ("10d", 864000.0),
        ]
        assert [copy.published for copy in copies[1:]] == sorted(
            (c.published for c in copies[1:]), reverse=True
        )
        assert copies[-1].published in (1, 2)
        assert all(one.difference == 0.0 for one in copies[0].differences)
    auc = {c.sync: d for c in found.find("gaussian") for d in c.differences if d.metric == "auc"}
    assert auc["immediate"].value == report.metrics.scored.auc
    assert auc["immediate"].value > auc["10d"].value
    assert auc["10d"].high is not None
    assert auc["10d"].high < 0
    span_s = ((report.log.end_ms or 0) - (report.log.start_ms or 0)) / 1000
    assert span_s / 3000 < found.batch_s < span_s / (3000 / 64)
    assert read(out / "report.json") == report
    assert not (out / ".examples.arrow").exists()


def test_retraining_offline_is_compared_on_the_days_that_it_served(stale: tuple[Path, Report]) -> None:
    found = stale[1].staleness
    assert found is not None
    assert [one.learner for one in found.offline] == ["gaussian", "twotower"]
    one = found.offline[0]
    assert (one.every_s, one.passes, one.stride) == (86400.0, 3, 2)
    assert one.trainings == 10
    scored = stale[1].metrics.scored.events
    assert 0.3 * scored < one.events < 0.7 * scored
    assert 0 < found.offline_cpu_seconds < found.offline_daily_cpu_seconds
    assert {d.metric for d in one.differences} >= {"auc", "log_loss"}


def test_one_pass_every_day_is_a_copy_published_every_day(tmp_path: Path) -> None:
    """Gaussian rows have nothing to gain from further passes: retrained, they are where they were."""
    report = ebbtide.replay(
        SMALL,
        tmp_path,
        learner="gaussian",
        sync_every="1d",
        floors=False,
        offline_budget=1000.0,
        drift=False,
        batch=16,
    )
    assert report.staleness is not None
    copy, offline = report.staleness.find("gaussian")[1], report.staleness.offline[0]
    assert offline.trainings == copy.published
    assert offline.differences == copy.differences


def test_copies_change_nothing_of_a_model_that_learns_event_by_event(
    stale: tuple[Path, Report], tmp_path: Path
) -> None:
    plain = ebbtide.replay(LOG, tmp_path, learner="gaussian", batch=64)
    for ours, beside in zip(plain.learners, stale[1].learners, strict=True):
        assert ours == beside or ours.name == "twotower"


def test_where_nothing_is_cut_the_run_ends_in_the_same_state(tmp_path: Path) -> None:
    plain = ebbtide.replay(SMALL, tmp_path / "a")
    beside = ebbtide.replay(SMALL, tmp_path / "b", sync_every="immediate,30d", offline_passes=0)
    assert plain.state_digest == beside.state_digest
    assert plain.learners == beside.learners


def test_copies_are_brought_up_to_date_within_large_micro_batches(tmp_path: Path) -> None:
    """A learner that learns event by event has the same curve whatever the micro-batch."""
    curves = []
    for batch in (7, 1000):
        report = ebbtide.replay(
            SMALL,
            tmp_path / str(batch),
            learner="gaussian",
            sync_every="6h,2d",
            batch=batch,
            floors=False,
            drift=False,
        )
        assert report.staleness is not None
        copies = report.staleness.find("gaussian")
        figures = [*(copy.differences for copy in copies), report.staleness.offline[0].differences]
        curves.append(([copy.published for copy in copies], figures))
    assert curves[0] == curves[1]
    assert curves[0][0][1] > 20


def test_the_curve_is_printed_and_drawn(stale: tuple[Path, Report]) -> None:
    _, report = stale
    for width in (80, 120):
        said = said_on(width, report)
        assert max(len(line) for line in said.splitlines()) <= width
        assert "What freshness is worth" in said
        for words in ("immediate", "10d", "offline"):
            assert words in said
    drawn = plots(report)
    for name in ("AUC", "log loss", "recall@10", "NDCG@10"):
        assert f"{name} against staleness" in drawn
    page = html.render(report)
    assert "one day in 2, the only ones compared" in page
    assert "retrained offline once a day" in page


def test_without_retraining_there_is_no_offline_line(tmp_path: Path) -> None:
    report = ebbtide.replay(SMALL, tmp_path, sync_every="immediate", offline_passes=0)
    assert report.staleness is not None
    assert report.staleness.offline == []
    assert {copy.sync for copy in report.staleness.copies} == {"immediate"}
    assert "retrained offline" not in html.render(report)


def test_the_default_model_says_what_each_of_its_parts_is_worth(tmp_path: Path) -> None:
    report = ebbtide.replay(SMALL, tmp_path, ablate=True, floors=False, drift=False)
    assert report.ablation is not None
    assert report.ablation.learner == "stim"
    moved = {
        variant.name: {one.metric for one in variant.differences if one.difference} & {"auc", "mrr"}
        for variant in report.ablation.variants
    }
    ranking, action = {"mrr"}, {"auc"}
    assert moved == {
        "no mask": set(),  # no memory here is longer than a window
        "no curve of return": ranking,
        "no periods": ranking,
        "one expert": ranking,
        "no copy path": ranking,
        "one interest": ranking,
        "no base": ranking | action,
        "no session": action,
        "no neighbours": action,
        "no practice": action,
        "no SVD": action,
    }
    said = said_on(120, report)
    assert re.search(r"no curve of return +same +same ", said)
    assert re.search(r"no SVD +[+-]0\.\d{4} .*same +same", said)
    forest = re.search(r"<title>AUC: variant minus stim</title>.*?</svg>", html.render(report), re.DOTALL)
    assert forest is not None
    assert "no SVD" in forest[0]
    assert "no curve of return" not in forest[0]


def test_a_part_that_the_log_cannot_feed_makes_no_variant(tmp_path: Path) -> None:
    rows = [f"{i % 7},{i * i % 11},{i + 1}" for i in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *rows]) + "\n")
    report = ebbtide.replay(tmp_path / "log.csv", tmp_path, ablate=True, floors=False, drift=False)
    assert report.ablation is not None
    names = [variant.name for variant in report.ablation.variants]
    assert names == [*("no curve of return", "one expert", "no copy path", "one interest", "no base")]


def test_the_default_model_says_what_its_freshness_is_worth(tmp_path: Path) -> None:
    """Its copies predict and rank; offline, its mixture and its interests move once more."""
    report = ebbtide.replay(
        SMALL, tmp_path, sync_every="immediate,1d,5d", offline_passes=2, floors=False, drift=False
    )
    found = report.staleness
    assert found is not None
    copies = found.find("stim")
    assert found.copies == copies
    assert [copy.sync for copy in copies] == ["immediate", "1d", "5d"]
    for differences in [*(copy.differences for copy in copies), found.offline[0].differences]:
        assert {one.metric for one in differences} >= {"auc", "recall@10"}
    ndcg = [d.value for copy in copies for d in copy.differences if d.metric == "ndcg@10"]
    assert ndcg[0] > ndcg[2]
    assert {"AUC against staleness", "recall@10 against staleness"} <= set(plots(report))


@pytest.mark.usefixtures("parts")
def test_both_at_once_in_json(tmp_path: Path) -> None:
    code, said = invoked(
        "replay",
        SMALL,
        "--out",
        tmp_path,
        "--ablate",
        "--sync-every",
        "12h",
        "--json",
        "--learner",
        "gaussian",
    )
    assert code == 0, said
    found = json.loads(said)
    assert {v["name"] for v in found["ablation"]["variants"]} == {
        "no rows",
        "no user categories",
        "no actions",
    }
    assert [copy["sync"] for copy in found["staleness"]["copies"][:2]] == ["immediate", "12h"]
    first = found["staleness"]["copies"][1]["differences"][0]
    assert set(first) == {"metric", "value", "difference", "low", "high"}
    assert first["metric"] in METRICS


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--sync-every", "5x"), "--sync-every: expected a duration such as 60s, 10m, 1h or 1d, got '5x'"),
        (("--sync-every", ""), "immediate,1m,10m"),
        (("--sync-every", "1h", "--learner", "river-ftrl"), "'river-ftrl' cannot be copied"),
        (("--sync-every", "1h", "--checkpoint", "{tmp}/saved"), "a checkpoint does not hold the copies"),
        (
            ("--sync-every", "1h", "--config", "{tmp}/c.toml"),
            "offline_budget: expected float > 0.0, got 0.0",
        ),
    ],
)
def test_what_the_caller_can_mend_is_said_in_words(
    args: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text("offline_budget = 0.0\n")
    code, said = invoked(
        "replay", SMALL, "--out", tmp_path, *(a.replace("{tmp}", str(tmp_path)) for a in args)
    )
    assert code == 2
    assert message in said
    assert not (tmp_path / ".examples.arrow").exists()


def test_a_log_without_times_has_no_intervals(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\n" + "\n".join(f"{i % 5},{i % 7}" for i in range(100)))
    code, said = invoked(
        "replay", tmp_path / "log.csv", "--out", tmp_path, "--map", "time=@row", "--sync-every", "1h"
    )
    assert code == 2, said


def difference(metric: str, low: float | None, high: float | None) -> Difference:
    return Difference(metric=metric, value=0.5, difference=0.0, low=low, high=high)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([difference("auc", -0.2, -0.1)], "earns its place"),
        ([difference("log_loss", 0.1, 0.2), difference("auc", -0.1, 0.1)], "earns its place"),
        ([difference("recall@10", 0.1, 0.2)], "harms here"),
        ([difference("ndcg@10", -0.1, 0.1), difference("recall@50", -0.2, -0.1)], "worth nothing here"),
        (
            [difference("auc", 0.1, 0.2), difference("log_loss", 0.1, 0.2)],
            "helps in one way, harms in another",
        ),
        ([difference("auc", None, None)], "too few users to tell"),
        ([], "too few users to tell"),
    ],
)
def test_a_verdict_goes_by_the_decisive_metrics(found: list[Difference], verdict: str) -> None:
    assert worth(found) == verdict


def test_better_is_better_whichever_way_the_metric_points() -> None:
    assert sign(difference("auc", 0.1, 0.2)) == sign(difference("log_loss", -0.2, -0.1)) == 1
    assert sign(difference("auc", -0.1, 0.1)) == 0
    assert sign(difference("auc", None, None)) is None
