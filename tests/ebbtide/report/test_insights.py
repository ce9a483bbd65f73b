"""What the model has learned, drawn and put into words: as careful as the numbers are, for any insight."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import ebbtide
from ebbtide.report import findings
from ebbtide.report import page as html
from ebbtide.report.figures import InsightCard, figures
from learners.insight import AGES_S, AgeCurve, GateLedger, Insight, ReturnCurve, View, age_curves, kernel
from learners.systems.gaussian import GaussianRows
from learners.systems.twotower import TwoTower
from state.examples import Doubles
from tests.ebbtide.made_report import EXPERTS, learned, report

HOUR_MS, MONDAY_MS = 3_600_000, 4 * 86_400_000
HOSTILE = "<b>\"'&"


def shown(insight: Insight | None, **options: object) -> dict[str, InsightCard]:
    return {figure.title: figure for figure in figures(report(600, insight=insight, **options))}


def returning(chance: list[float | None], hits: int = 500) -> Insight:
    gap_s = np.geomspace(600.0, 40 * 86_400.0, len(chance)).tolist()
    return Insight(
        returns=[ReturnCurve(name="had once", gap_s=gap_s, chance=chance, chances=10_000, hits=hits)]
    )


def gated(gate_HE: Doubles, days: int = 28) -> Insight:
    """Gates by hour, the same every day."""
    ledger = GateLedger(["own", "crowd"])
    hours = np.arange(24 * days)
    ledger.add(MONDAY_MS + hours * HOUR_MS, np.zeros(len(hours), np.int64), gate_HE[hours % 24])
    return ledger.insight()


def curves(weights: dict[str, Doubles]) -> list[AgeCurve]:
    return age_curves({name: (AGES_S, weight_A) for name, weight_A in weights.items()})


def faded(half_s: float) -> Doubles:
    return np.asarray(0.5 ** (AGES_S / half_s))


def test_the_curve_of_return_tells_its_dip_and_its_peaks() -> None:
    figure = shown(learned())["Learned curve of return"]
    assert figure.says.startswith("What was had 5 times or more is come back to most often 23 h after")
    assert figure.says.endswith("It is likelier again after 8 days.")
    assert figure.legend is not None
    assert "had once, at most 6.8%" in str(figure.legend)
    assert "the memory's fixed curve" in str(figure.legend).replace("&#x27;", "'")


@pytest.mark.parametrize(
    "insight",
    [
        returning([0.1] * 20),
        returning([0.1, 0.4] * 10, hits=99),
        returning([None] * 15 + [0.1, 0.4, 0.1, 0.2, 0.3]),
        returning([0.1, 0.4] * 10).timeless(),
    ],
    ids=["flat", "few returns", "few bins", "times only give an order"],
)
def test_a_curve_of_return_that_says_nothing_is_not_drawn(insight: Insight) -> None:
    assert "Learned curve of return" not in shown(insight)
    assert "Learned curve of return" in shown(returning([0.1, 0.4] * 10))


def test_every_kind_of_figure_is_drawn_and_says_what_is_seen() -> None:
    found = shown(learned())
    assert list(found) == [
        "Learned retention",
        "Learned curve of return",
        "Learned return of the hour of the day",
        "Learned return of the hour of the week",
        "What counts, by hour of the day (UTC)",
        "What counts, by weekday (UTC)",
        "What each view holds",
    ]
    for figure in found.values():
        ElementTree.fromstring(figure.picture)
        assert re.fullmatch(r"[A-Z0-9].+\.", figure.says)


def test_curves_are_told_by_when_half_is_gone() -> None:
    made = curves({"own": faded(86_400 * 3.0), "hour": faded(86_400 * 20.0), "place": faded(1e12)})
    said = findings.of_curves(made, 2 * 86_400.0)
    halves = re.search(r"own after (\S+) days, hour after (\S+) days, place not within a year", said)
    assert halves is not None
    assert [float(days) for days in halves.groups()] == pytest.approx([3, 20], rel=0.15)
    assert said.endswith("; by the memory's fixed curve after 2 days.")


def test_an_event_that_speaks_against_itself_at_first_is_told() -> None:
    weight = np.where(AGES_S < 7200, -0.5, faded(86_400.0))
    said = findings.of_curves(curves({"own": weight}), None)
    assert re.search(r"Younger than 2\.?\d? h it speaks against its item \(own\)\.", said)
    rising = findings.of_curves(curves({"own": np.where(AGES_S < 7200, 0.1, faded(86_400.0))}), None)
    assert "It weighs most at an age of" in rising
    assert "own had none to lose" in findings.of_curves(curves({"own": -faded(9.0)}), None)


def test_the_memorys_fixed_curve_is_drawn_beside_the_learned_ones() -> None:
    figure = shown(learned())["Learned retention"]
    kinds = [path.get("class") for path in ElementTree.fromstring(figure.picture).iter("path")]
    assert kinds.count("line ideal") == 1
    assert {"line s0", "line s1", "line s2", "line s3"} <= set(kinds)
    assert figure.legend is not None
    assert figure.legend.count("<li>") == 5
    assert "by the memory's fixed curve after 2 days" in figure.says


def test_more_curves_than_can_be_told_apart_are_counted() -> None:
    insight = Insight(curves=curves({f"c{i}": faded(1e5) for i in range(8)}))
    figure = shown(insight)["Learned retention"]
    assert figure.says.endswith("2 more curves are in report.json.")
    assert "line s6" not in figure.picture


def test_evenings_that_lean_elsewhere_are_told_with_both_numbers() -> None:
    gate_HE = np.tile([0.8, 0.2], (24, 1))
    gate_HE[18:] = [0.4, 0.6]
    assert findings.of_hours(gated(gate_HE)) == (
        "Own counts most, 0.70 on average. Evenings (18 to 24 h) lean more on crowd: 0.60 against 0.30."
    )


def test_gates_that_hardly_move_are_not_talked_up() -> None:
    gate_HE = np.tile([0.8, 0.2], (24, 1))
    gate_HE[18:] = [0.79, 0.21]
    assert findings.of_hours(gated(gate_HE)).endswith(
        "no part of the day leans elsewhere by as much as 0.02."
    )
    assert findings.of_weekdays(gated(gate_HE)).endswith("no weekday leans elsewhere by as much as 0.02.")


def test_a_few_rows_tell_nothing_of_the_clock() -> None:
    gate_HE = np.tile([0.8, 0.2], (24, 1))
    gate_HE[18:] = [0.4, 0.6]
    said = findings.of_hours(gated(gate_HE, days=3))
    assert said == "72 rows are too few to tell one part of the day from another."


def test_bars_stand_out_where_the_words_say_so() -> None:
    gate_HE = np.tile([0.8, 0.2], (24, 1))
    gate_HE[18:] = [0.4, 0.6]
    picture = ElementTree.fromstring(shown(gated(gate_HE))["What counts, by hour of the day (UTC)"].picture)
    strong = [bar.findtext("title") or "" for bar in picture.iter("rect") if bar.get("class") == "bar s0"]
    assert [text for text in strong if text.startswith("crowd")] == [
        f"crowd, {h}:00 to {h + 1}:00: 0.600\n28 rows" for h in range(18, 24)
    ]
    assert len(strong) == 6 + 18


def test_hours_are_local_where_the_log_says_which() -> None:
    made = report(600, insight=learned())
    local = msgspec.structs.replace(made, log=msgspec.structs.replace(made.log, roles=["item", "tz", "user"]))
    assert "What counts, by weekday (local time)" in [figure.title for figure in figures(local)]


def test_views_are_told_by_the_emptiest_and_the_fullest() -> None:
    views = [
        View(name="recent", empty=0.0, entries=18.0, gate=0.5),
        View(name="place", empty=0.72, entries=1.2, gate=None),
    ]
    assert findings.of_views(views) == (
        "The place view was empty most often, for 72% of the rows; "
        "the recent view held most, 18.0 entries on average."
    )
    assert findings.of_views(views[:1]).startswith("No view was ever empty; the recent view held most")
    empty = View(name="place", empty=1.0, entries=0.0, gate=None)
    assert findings.of_views([empty]) == "The place view was empty most often, for 100% of the rows."


def test_kernels_are_told_by_where_half_is_lost() -> None:
    apart = np.arange(-12.0, 12.5, 0.5)
    kernels = [
        kernel("own", apart, np.maximum(1 - np.abs(apart) / 4, 0), period_h=24),
        kernel("flat", apart, np.ones(len(apart)), period_h=24),
    ]
    said = findings.of_kernels(kernels)
    assert said == "Half of the weight is lost, away from the same hour: own at 2.5 h, flat nowhere."


@pytest.mark.parametrize(
    "insight",
    [
        None,
        Insight(),
        GateLedger(EXPERTS, EXPERTS).insight(),
        Insight(curves=curves({"own": np.full(len(AGES_S), np.nan)})),
        Insight(curves=curves({"own": np.zeros(len(AGES_S))})),
        learned(3),
        learned(3).timeless(),
    ],
)
def test_there_is_a_page_for_every_insight(insight: Insight | None) -> None:
    page = html.render(report(600, insight=insight))
    assert not re.search(r"\b(nan|inf)\b", page)
    assert ("What the model has learned" in page) == bool(shown(insight))


def test_nothing_to_show_shows_nothing() -> None:
    assert shown(None) == shown(Insight()) == shown(GateLedger(EXPERTS, EXPERTS).insight()) == {}


def test_a_line_without_a_course_and_a_view_that_never_held_anything_are_not_drawn() -> None:
    flat = -np.ones(len(AGES_S))
    assert shown(Insight(curves=curves({"own": flat}))) == {}
    both = shown(Insight(curves=curves({"own": flat, "hour": faded(1e5)})))["Learned retention"]
    assert "hour after" in both.says
    assert "own" not in both.says
    assert shown(Insight(kernels=[kernel("own", [0, 6], [1.0, 0.99], period_h=24)])) == {}
    never = View(name="after", empty=1.0, entries=0.0, gate=0.1)
    often = View(name="recent", empty=0.2, entries=3.0, gate=0.9)
    assert shown(Insight(views=[never])) == {}
    assert "after" not in shown(Insight(views=[never, often]))["What each view holds"].picture


def test_hostile_names_stay_text() -> None:
    ledger = GateLedger([HOSTILE], [HOSTILE])
    ledger.add(
        np.full(200, MONDAY_MS), np.zeros(200, np.int64), np.ones((200, 1)), np.ones((200, 1), np.int64)
    )
    made = curves({HOSTILE: faded(1e5)})
    page = html.render(
        report(600, insight=ledger.insight(made, [kernel(HOSTILE, [0, 6], [1.0, 0.5], period_h=24)]))
    )
    inner = page.split("<main>")[1].split("</main>")[0]
    said = "".join(ElementTree.fromstring(f"<main>{inner}</main>").itertext())
    assert HOSTILE not in page
    assert said.count(HOSTILE) >= 5


@pytest.mark.parametrize(("step_s", "clock"), [(3600, True), (1, False)])
def test_a_run_tells_what_its_learners_tell(
    step_s: int, clock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model's, or else that of the learner whose vectors it publishes; of the clock only with one."""
    start_s = 1_500_000_000 if clock else 0
    rows = [f"{i % 7},{i % 11},{start_s + i * step_s},{i % 2}" for i in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time,label", *rows]) + "\n")

    def run(name: str, learner: str = "gaussian") -> tuple[dict[str, Any] | None, str]:
        ebbtide.replay(tmp_path / "log.csv", tmp_path / name, learner=learner, floors=False, drift=False)
        found = json.loads((tmp_path / name / "report.json").read_text())["insight"]
        return found, (tmp_path / name / "report.html").read_text()

    nothing, page = run("none")
    assert nothing is None
    assert "What the model has learned" not in page
    monkeypatch.setattr(TwoTower, "insight", lambda self: learned())
    published, page = run("published")
    assert published is not None
    assert "What the model has learned" in page
    assert bool(published["gate_by_hour"]) == bool(published["kernels"]) == clock
    monkeypatch.setattr(GaussianRows, "insight", lambda self: Insight(experts=["rows"]))
    models, _ = run("model")
    assert models is not None
    assert models["experts"] == ["rows"]
    stim, page = run("stim", "auto")
    assert stim is not None
    assert {"recent", "after"} <= set(stim["experts"])
    assert ("hour" in stim["experts"]) == bool(stim["gate_by_hour"]) == bool(stim["kernels"]) == clock
    assert "What the model has learned" in page
