"""report.html: whole, self-contained, safe with hostile ids, and there for every kind of run."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from ebbtide.report import page as html
from learners.judging.judge import Speaker
from state.drift_alarm import DriftAlarm, Foreseen
from tests.ebbtide.made_report import SPEAKERS, report

HOSTILE = "<script>alert('x')</script>\"'&<!--"
ALARM = DriftAlarm(
    time_ms=1_500_000_000_000 + 100 * 60_000,
    event=101,
    detector="adwin",
    signal="log_loss",
    learner="stim",
    before=0.5,
    after=0.7,
    worse=True,
    open=True,
    since_event=81,
    since_ms=1_500_000_000_000 + 80 * 60_000,
    values_before=64,
    values_after=32,
    means=(0.49, 0.51, 0.7),
    change=2,
)


def body(page: str) -> ElementTree.Element:
    """The page's content, parsed strictly: every tag closed, every text escaped."""
    inner = page.split("<main>")[1].split("</main>")[0]
    return ElementTree.fromstring(f"<main>{inner}</main>")


def text(page: str) -> str:
    return " ".join("".join(body(page).itertext()).split())


def test_it_shows_the_model_beside_the_hardest_floor() -> None:
    page = html.render(report())
    said = text(page)
    for words in ("gaussian", "rates", "twotower", "popular", "AUC", "log loss", "recall@10", "NDCG@10"):
        assert words in said
    assert said.count(", better") == 4
    tiles = [" ".join(tile.itertext()) for tile in body(page).iter("div") if tile.get("class") == "tile"]
    assert any(re.search(r"AUC 0\.\d{3} floor 0\.\d{3} \(rates\) \+0\.\d{3}, better", tile) for tile in tiles)


def test_every_metric_is_drawn_with_its_floor_and_every_point_says_what_it_is() -> None:
    page = html.render(report(drift=[ALARM]))
    plots = {svg.findtext("title"): svg for svg in body(page).iter("svg") if svg.find("title") is not None}
    assert {f"{name} over time" for name in ("AUC", "log loss", "recall@10", "NDCG@10")} <= set(plots)
    auc = plots["AUC over time"]
    assert {path.get("class") for path in auc.iter("path")} >= {"line s0", "line s1"}
    points = [g.findtext("title") or "" for g in auc.iter("g") if g.get("class") == "point"]
    assert len(points) == 2 * 16
    assert all(re.search(r"AUC 0\.\d{4}\n.+ to .+\n250 events", says) for says in points)
    flags = {
        name: [g.findtext("title") for g in plot.iter("g") if g.get("class") is None]
        for name, plot in plots.items()
    }
    assert flags["AUC over time"] == [
        "drift alarm: log loss of stim grew worse, from 0.500 to 0.700, after event 81 (14 Jul 04:00); open"
    ]
    assert flags["recall@10 over time"] == []


def test_what_was_expected_is_drawn_beside_what_came_where_there_is_enough_of_both() -> None:
    def page(known: int, auc: float | None = 0.7) -> str:
        windows = [
            Foreseen(
                event=1 + 1024 * n,
                events=1024,
                expected_log_loss=0.5 + n / 100,
                log_loss=0.52 if n < known else None,
                expected_auc=auc,
                auc=auc if n < known else None,
            )
            for n in range(6)
        ]
        return html.render(report(foreseen=windows))

    assert "Before labels arrived" not in page(3), "three windows are no course of anything"
    assert "Log loss, expected: 0.550" in page(4)
    assert "Log loss, came: 0.520" in page(4)
    assert "AUC, each event against those known before it, came: 0.700" in page(4)
    assert "AUC, each event" not in page(4, auc=None)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    page = html.render(report(drift=[ALARM]))
    assert not re.search(
        r"(?i)<script|<link|<img|<iframe|\bsrc=|\bhref=|url\(|@import|https?://|\son\w+=", page
    )
    assert "default-src 'none'" in page


def test_hostile_ids_stay_text() -> None:
    hostile = Speaker(HOSTILE, predicts=True, ranks=True, floor=False)
    made = report(
        name=HOSTILE,
        speakers=(hostile, *SPEAKERS),
        dead_letters={HOSTILE: 3},
        notes=[HOSTILE],
        drift=[
            msgspec.structs.replace(ALARM, signal=HOSTILE, learner=HOSTILE, segment="scene", name=HOSTILE)
        ],
    )
    page = html.render(made)
    assert "<script" not in page.lower()
    assert text(page).count(HOSTILE) >= 8


@pytest.mark.parametrize("events", [0, 1, 3, 600])
@pytest.mark.parametrize("labelled", [True, False])
def test_there_is_a_page_for_every_run(events: int, labelled: bool) -> None:
    page = html.render(report(events, labelled=labelled))
    assert not re.search(r"\b(nan|inf)\b", page)
    assert f"{events} events" in text(page)


@pytest.mark.parametrize(
    ("start_ms", "step_ms"), [(0, 0), (0, 1), (-5_000_000_000_000, 10**9), (4_000_000_000_000, 86_400_000)]
)
def test_times_of_any_scale_have_an_axis(start_ms: int, step_ms: int) -> None:
    assert "AUC" in text(html.render(report(1000, start_ms=start_ms, step_ms=step_ms)))


def test_without_learners_what_was_read_is_still_shown() -> None:
    said = text(html.render(report(10, speakers=(), dead_letters={"no user": 4})))
    assert "no user" in said
    assert "Will it happen" not in said


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    html.write(report(300), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().rstrip().endswith("</html>")
    assert len(list(tmp_path.iterdir())) == 1
