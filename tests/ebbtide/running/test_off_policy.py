"""What another policy would have earned, where the truth is known: `ebbtide replay --off-policy`."""

import json
from pathlib import Path

import numpy as np
import pytest

import ebbtide
from ebbtide.report import page
from ebbtide.report.report import Report
from learners.judging.off_policy import Estimate, OffPolicy
from tests.ebbtide.typed import run

REWARD = (0.02, 0.05, 0.1, 0.1, 0.4)
START_S = 1_700_000_000
QUIET = {"learner": "popular", "batch": 64, "score_from": 0.0}


def write_log(path: Path, share: tuple[float, ...], events: int = 3000, spoilt: int = 0) -> Path:
    """Items shown by fixed shares, and what came of them; the last `spoilt` rows have no right propensity."""
    rng = np.random.default_rng(3)
    item_E = rng.choice(len(share), events, p=share)
    label_E = rng.random(events) < np.array(REWARD)[item_E]
    propensity_E = [f"{share[item]}" for item in item_E]
    for e in range(events - spoilt, events):
        propensity_E[e] = ("", "0", "1.5")[e % 3]
    rows = [
        f"u{e % 60},i{item_E[e]},{START_S + 60 * e},{int(label_E[e])},{propensity_E[e]}"
        for e in range(events)
    ]
    path.write_text("\n".join(["user,item,time,label,propensity", *rows]) + "\n")
    return path


UNIFORM, GOOD = (0.2,) * 5, (0.05, 0.05, 0.1, 0.1, 0.7)


@pytest.fixture
def uniform(tmp_path: Path) -> Path:
    return write_log(tmp_path / "uniform.csv", UNIFORM)


def judged(log: Path, out: Path, policy: str, **options: object) -> Report:
    return ebbtide.replay(log, out, off_policy=policy, **(QUIET | options))  # type: ignore[arg-type]


def told(report: Report) -> OffPolicy:
    assert report.off_policy is not None
    assert report.off_policy.found is not None
    return report.off_policy.found


def bounds(one: Estimate | None) -> tuple[float, float, float]:
    assert one is not None
    assert one.low is not None
    assert one.high is not None
    return one.low, one.value, one.high


def test_another_log_s_policy_earns_what_it_is_known_to(uniform: Path, tmp_path: Path) -> None:
    good = write_log(tmp_path / "good.csv", GOOD)
    report = judged(uniform, tmp_path / "out", f"like:{good}")
    found, truth = told(report), float(np.dot(GOOD, REWARD))
    for one in (found.ips, found.snips, found.dr):
        low, _, high = bounds(one)
        assert low < truth < high
    assert (found.verdict, found.events) == ("better", 3000)
    low, _, high = bounds(found.logged)
    assert low < np.mean(REWARD) < high
    assert found.mean_weight == pytest.approx(1.0, abs=0.05)
    drawn = page.render(report)
    assert all(
        name in drawn for name in ("What another policy would have earned", "SNIPS", "better, between")
    )


def test_a_learner_s_policy_is_one_of_its_best_and_is_judged_before_it_learns(
    uniform: Path, tmp_path: Path
) -> None:
    """All five items, each alike: that is what the log itself shows."""
    found = told(judged(uniform, tmp_path / "all", "popular:5"))
    assert found.events == 3000 - 64
    assert bounds(found.snips)[1] == pytest.approx(found.logged.value, rel=0.01)
    best = told(judged(uniform, tmp_path / "best", "popular"))
    assert best.effective_events == pytest.approx(best.events / 5, rel=0.2)
    assert abs(best.mean_weight - 1.0) < 0.15


def test_a_log_of_one_choice_can_tell_nothing(tmp_path: Path) -> None:
    """What is always shown alike has propensity 1; another policy's weights do not average 1 then."""
    log = write_log(tmp_path / "log.csv", (0.0, 0.0, 0.0, 1.0, 0.0))
    other = write_log(tmp_path / "other.csv", GOOD)
    found = told(judged(log, tmp_path / "out", f"like:{other}"))
    assert found.verdict == "cannot tell"
    assert "weights average 0.10" in found.reason
    never = write_log(tmp_path / "never.csv", (0.5, 0.5, 0.0, 0.0, 0.0))
    found = told(judged(log, tmp_path / "out", f"like:{never}"))
    assert (found.verdict, found.ips, found.snips, found.dr) == ("cannot tell", None, None, None)
    assert "hardly ever shows" in found.reason


def test_wrong_propensities_are_dead_letters_and_missing_ones_left_out(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", UNIFORM, spoilt=300)
    report = judged(log, tmp_path / "out", "popular:5")
    assert report.dead_letters == {"bad propensity": 200}
    assert report.off_policy is not None
    assert report.off_policy.left_out == 64 + 100
    letter = (tmp_path / "out" / "dead_letters.jsonl").read_text().splitlines()[0]
    assert "expected 9.09495e-13 to 1" in letter


def test_resumed_it_says_the_same(uniform: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    whole = judged(uniform, tmp_path / "out", "habits:2", checkpoint=saved, every=1000)
    resumed = judged(uniform, tmp_path / "out", "habits:2", checkpoint=saved, resume=True)
    assert resumed.off_policy == whole.off_policy
    assert resumed.state_digest == whole.state_digest


def test_judging_changes_nothing_of_what_is_learned(uniform: Path, tmp_path: Path) -> None:
    plain = ebbtide.replay(uniform, tmp_path / "plain", **QUIET)  # type: ignore[arg-type]
    report = judged(uniform, tmp_path / "out", "popular")
    assert plain.off_policy is None
    assert report.state_digest == plain.state_digest
    assert report.metrics == plain.metrics


def test_the_terminal_and_json_say_so(uniform: Path, tmp_path: Path) -> None:
    command = (
        "replay",
        uniform,
        "--out",
        tmp_path / "out",
        "--off-policy",
        "popular:5",
        "--learner",
        "popular",
    )
    said = run(*command).stdout
    assert "What popular:5 would have earned" in said
    assert "SNIPS" in said
    found = json.loads(run(*command, "--json").stdout)["off_policy"]
    assert set(found["found"]) >= {"ips", "snips", "dr", "effective_events", "verdict", "reason"}


@pytest.mark.parametrize(
    ("policy", "more", "message"),
    [
        ("popular:0", (), "expected LEARNER or LEARNER:K"),
        ("rates", (), "predicts only; take one of"),
        ("oracle", (), "oracle"),
        ("like:nowhere.csv", (), "nowhere.csv"),
        ("popular", ("--map", "propensity="), "no propensity, the chance"),
        ("popular", ("--label", "none"), "no label, so no reward"),
    ],
)
def test_what_the_caller_can_mend_is_said_in_words(
    policy: str, more: tuple[str, ...], message: str, uniform: Path, tmp_path: Path
) -> None:
    command = ("replay", uniform, "--out", tmp_path / "out", "--off-policy", policy, "--learner", "popular")
    assert message in run(*command, *more, check=2).stderr
