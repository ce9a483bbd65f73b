"""What was said is kept as it was said, within bounded memory, and survives a kill."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from learners.contract import Context, Learner, Outcome, RankRequest, Settings
from learners.judging.judge import WINDOWS
from learners.judging.measure import Measure
from learners.judging.metrics import METRICS, Predictions, Ranks
from learners.tables.catalogue import Catalogue
from state.errors import EbbtideError, InputError
from state.examples import ExampleBatch, empty_examples
from state.tree import digest


class Model(Learner):
    name = "model"
    predicts = True
    ranks = True


class Rates(Learner):
    name = "rates"
    predicts = True
    floor = True


class Popular(Learner):
    name = "popular"
    ranks = True
    floor = True


KINDS = (Rates, Popular, Model)
CONTEXT = Context(labelled=True, roles=frozenset(), catalogue=Catalogue())
LEARNERS: Mapping[str, Learner] = {kind.name: kind(Settings(), CONTEXT) for kind in KINDS}
Step = tuple[ExampleBatch, Mapping[str, Outcome], RankRequest]


def steps(events: int, *, batch: int = 97, labelled: bool = True, seed: int = 1) -> list[Step]:
    """A run in which `model` is better than the floors, by construction."""
    random = np.random.default_rng(seed)
    whole = empty_examples(events)
    logit = random.normal(0, 1.5, events)
    label = (random.random(events) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    user = random.integers(0, 50, events)
    item = random.integers(0, 200, events)
    for rates_BR, ids in ((whole.user_rates_BR, user), (whole.item_rates_BR, item)):
        rates_BR[:, 0] = 1.0
        rates_BR[np.unique(ids, return_index=True)[1], 0] = 0.0
    whole = replace(
        whole,
        offset_B=np.arange(events),
        user_B=user,
        item_B=item,
        time_ms_B=1_000 * np.arange(events),
        label_B=label if labelled else whole.label_B,
    )
    p = {name: 1 / (1 + np.exp(-logit + random.normal(0, noise, events))) for name, noise in NOISE.items()}
    rank = {name: 1 + random.geometric(1 / depth, events) for name, depth in DEPTH.items()}

    def made() -> Iterator[Step]:
        for start in range(0, events, batch):
            rows = slice(start, min(start + batch, events))
            part = whole.take(rows)
            chosen = np.flatnonzero(part.label_B > 0.5) if labelled else np.arange(len(part))
            outcomes = {
                name: Outcome(
                    p_B=p[name][rows] if name in p else None,
                    rank_R=rank[name][rows][chosen] if name in rank else None,
                )
                for name in LEARNERS
            }
            yield part, outcomes, request(chosen)

    return list(made())


NOISE = {"model": 0.2, "rates": 2.0}
DEPTH = {"model": 5, "popular": 40}


def request(rows_R: np.ndarray) -> RankRequest:
    none = np.zeros(len(rows_R), np.int64)
    return RankRequest(rows_R, none, none + 200, np.zeros(len(rows_R) + 1, np.int64), none[:0])


def measured(directory: Path, run: list[Step], part_events: int = 500) -> Measure:
    measure = Measure(directory, LEARNERS, part_events=part_events)
    for step in run:
        measure.add(*step)
    return measure


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def column(measure: Measure, name: str) -> np.ndarray:
    tables = [pa.ipc.open_file(str(path)).read_all() for path in measure.close()]
    merged: np.ndarray = pa.concat_tables(tables)[name].to_numpy()
    return merged


def test_the_files_hold_every_event_as_it_was_said(tmp_path: Path) -> None:
    run = steps(1234)
    measure = measured(tmp_path, run)
    assert len(measure) == 1234
    assert [path.name for path in measure.close()] == [f"part-{i:05d}.arrow" for i in range(3)]
    assert column(measure, "offset").tolist() == list(range(1234))
    for role in ("user", "item", "time_ms", "label"):
        said = np.concatenate([getattr(batch, f"{role}_B") for batch, _, _ in run])
        assert column(measure, role).tolist() == said.tolist()
    p = np.concatenate([outcome["rates"].p_B for _, outcome, _ in run if outcome["rates"].p_B is not None])
    assert column(measure, "p.rates").tolist() == p.astype(np.float32).tolist()
    ranked = column(measure, "rank.popular") > 0
    assert ranked.tolist() == (column(measure, "label") > 0.5).tolist()


def test_metrics_are_those_of_the_whole_run_however_it_was_cut(tmp_path: Path) -> None:
    run = steps(1500)
    measure = measured(tmp_path / "a", run, part_events=128)
    evaluation = measure.evaluate()
    label, user = column(measure, "label"), column(measure, "user")
    expected = Predictions.of(column(measure, "p.model"), label, user).values(50)
    rank = column(measure, "rank.model")
    expected |= Ranks.of(rank, np.ones(len(rank), np.bool_), user).values(50)
    own = evaluation.own(lambda judged: judged.all)
    assert {metric: own.value(metric) for metric in METRICS} == pytest.approx(expected)
    assert measured(tmp_path / "b", steps(1500, batch=11), part_events=5000).evaluate() == evaluation


def test_the_model_speaks_and_the_floors_stand_beside_it(tmp_path: Path) -> None:
    evaluation = measured(tmp_path, steps(3000)).evaluate(0.5)
    assert (evaluation.predictor, evaluation.ranker) == ("model", "model")
    assert evaluation.users == 50
    best = {metric: evaluation.best_floor(metric) for metric in ("auc", "log_loss", "ndcg@10")}
    assert {m: floor and floor.name for m, floor in best.items()} == {
        "auc": "rates",
        "log_loss": "rates",
        "ndcg@10": "popular",
    }
    model = evaluation.learners[2]
    better = {i.metric: (i.low, i.high) for i in model.intervals}
    assert set(better) == set(METRICS) - {"calibration_error"}
    assert better["auc"][0] > 0
    assert better["ndcg@10"][0] > 0
    assert better["log_loss"][1] < 0
    assert model.interval("rates", "auc") is not None
    assert model.interval("popular", "auc") is None


def test_scored_windows_and_slices_cover_what_they_should(tmp_path: Path) -> None:
    evaluation = measured(tmp_path, steps(3000)).evaluate(0.8)
    part = evaluation.own(lambda judged: judged.scored)
    assert (part.events, part.start_ms, part.end_ms) == (600, 2_400_000, 2_999_000)
    model = evaluation.learners[2]
    assert [w.events for w in model.windows] == [250] * 12
    assert all(a.end_ms is not None and a.end_ms < (b.start_ms or 0) for a, b in pairwise(model.windows))
    assert model.all.events == 3000
    assert model.slices["cold_user"].events + model.slices["warm_user"].events == 600
    whole = measured(tmp_path, steps(3000)).evaluate().learners[2]
    assert whole.slices["cold_user"].events == 50
    assert whole.slices["cold_item"].events == 200
    assert sum(point.events for point in whole.calibration) == 3000


def test_a_long_log_has_a_bounded_number_of_windows(tmp_path: Path) -> None:
    assert len(measured(tmp_path, steps(20_000, batch=999)).evaluate().learners[0].windows) == WINDOWS


def test_scoring_may_begin_at_a_time_and_may_find_nothing(tmp_path: Path) -> None:
    measure = measured(tmp_path, steps(1000))
    assert measure.evaluate(750_000).learners[0].scored.events == 250
    late = measure.evaluate(10**9).learners[0]
    assert late.scored.events == 0
    assert {late.scored.value(metric) for metric in METRICS} == {None}
    assert late.scored.start_ms is None


def test_without_labels_every_event_is_a_positive_and_only_ranks_count(tmp_path: Path) -> None:
    part = measured(tmp_path, steps(800, labelled=False)).evaluate().own(lambda judged: judged.all)
    assert (part.events, part.positives, part.ranked) == (800, 800, 800)
    assert part.auc is part.log_loss is None
    assert part.mrr is not None


def test_no_event_at_all_gives_an_empty_part_and_no_metric(tmp_path: Path) -> None:
    measure = measured(tmp_path, [])
    assert measure.evaluate().own(lambda judged: judged.scored).value("auc") is None
    assert column(measure, "user").tolist() == []


@pytest.mark.parametrize("kept", [0, 3, 9, 20])
def test_a_run_that_was_killed_and_goes_on_ends_the_same(tmp_path: Path, kept: int) -> None:
    run = steps(2500)
    straight = measured(tmp_path / "straight", run)
    killed = measured(tmp_path / "killed", run[:kept])
    saved = killed.tree()
    for step in run[kept:][:7]:
        killed.add(*step)
    del killed

    resumed = Measure(tmp_path / "killed", LEARNERS, part_events=500)
    resumed.load(saved)
    for step in run[kept:]:
        resumed.add(*step)
    assert resumed.evaluate() == straight.evaluate()
    assert digest(resumed.tree()) == digest(straight.tree())
    straight.close(), resumed.close()
    assert content(tmp_path / "killed") == content(tmp_path / "straight")


def test_a_finished_run_may_be_taken_further(tmp_path: Path) -> None:
    run = steps(1300)
    first = measured(tmp_path / "a", run[:8])
    first.close()
    longer = Measure(tmp_path / "a", LEARNERS, part_events=500)
    longer.load(first.tree())
    for step in run[8:]:
        longer.add(*step)
    longer.close()
    measured(tmp_path / "b", run).close()
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_new_run_replaces_the_files_of_an_old_one(tmp_path: Path) -> None:
    measured(tmp_path, steps(3000)).close()
    measured(tmp_path, steps(600)).close()
    assert sorted(content(tmp_path)) == ["part-00000.arrow", "part-00001.arrow"]


def test_altered_or_missing_parts_are_refused(tmp_path: Path) -> None:
    measure = measured(tmp_path, steps(1200))
    saved = measure.tree()
    path = tmp_path / "part-00000.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    fresh = Measure(tmp_path, LEARNERS, part_events=500)
    with pytest.raises(InputError, match="expected the 2 parts that the checkpoint was made with"):
        fresh.load(saved)
    path.unlink()
    with pytest.raises(InputError, match=r"part-00000\.arrow: cannot be read"):
        fresh.load(saved)


def test_other_learners_cannot_take_over(tmp_path: Path) -> None:
    saved = measured(tmp_path, steps(100)).tree()
    other = Measure(tmp_path, {"rates": LEARNERS["rates"]}, part_events=500)
    with pytest.raises(InputError, match="resume with the learners that the run was started with"):
        other.load(saved)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_a_probability_that_is_none_is_an_error(tmp_path: Path, bad: float) -> None:
    batch, outcomes, asked = steps(10)[0]
    p_B = np.full(10, 0.5)
    p_B[3] = bad
    with pytest.raises(EbbtideError, match=r"learner rates: expected P\(action\) in \[0, 1\], got"):
        Measure(tmp_path, LEARNERS).add(batch, {**outcomes, "rates": Outcome(p_B=p_B)}, asked)


def test_recent_looks_back_across_a_part(tmp_path: Path) -> None:
    run = steps(1100)
    measure = measured(tmp_path, run)
    shown = measure.recent(300)
    label, p = column(measure, "label")[-300:], column(measure, "p.model")[-300:]
    right = np.where(label > 0.5, p, 1 - p)
    assert shown["model"]["log_loss"] == pytest.approx(-np.log(right).mean())
    assert {name: set(found) for name, found in shown.items()} == {"model": {"log_loss", "recall@10"}}
    assert Measure(tmp_path, LEARNERS).recent() == {}
