"""Retraining offline: the first pass is what the online learner did, and days are served or silent."""

from pathlib import Path

import pytest

from learners.contract import Learner
from learners.tables.catalogue import Catalogue
from learners.training.retraining import Offline, Spill, stride
from learners.training.served import Copies
from state.errors import InputError
from state.examples import ExampleBatch
from state.tree import digest
from tests.contracts.test_every_learner import LEARNERS, Bench, context

DAY_MS = 86_400_000


def offline(folder: Path, name: str, labelled: bool, passes: int = 1, stride: int = 1) -> Offline:
    def make(catalogue: Catalogue) -> dict[str, Learner]:
        cls = LEARNERS[name]
        return {name: cls(cls.Config(), context(labelled, catalogue))}

    spill = Spill(folder / "examples.arrow")
    return Offline(make, spill, every_ms=DAY_MS, passes=passes, stride=stride)


def filled(one: Offline, bench: Bench) -> Offline:
    for part in bench.scored[len(bench.scored) - 8 :]:
        one.spill.append(part.batch)
    return one


def copies(one: Offline) -> Copies:
    assert one._copies is not None
    return one._copies


def test_a_spill_gives_back_what_was_put_in_while_it_is_still_open(tmp_path: Path) -> None:
    bench = Bench(LEARNERS["twotower"], labelled=True).run(stop=200)
    spill = Spill(tmp_path / "examples.arrow")
    assert list(spill.read(0)) == []
    for part in bench.scored:
        spill.append(part.batch)
        back = list(spill.read(spill.rows))
        assert [len(batch) for batch in back] == [50] * (spill.rows // 50)
        for was, now in zip(bench.scored, back, strict=False):
            assert digest(was.batch.tree()) == digest(now.tree())
    assert [len(batch) for batch in spill.read(120)] == [50, 50, 20]
    first = next(spill.read(1))
    assert first.window is not None
    assert first.item_rates_BR.flags.writeable
    assert first.window.item_BW.flags.c_contiguous
    spill.close()
    spill.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spill_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    bench = Bench(LEARNERS["popular"], labelled=False).run(stop=50)
    with pytest.raises(InputError, match="offline_passes = 0"):
        Spill(tmp_path / "none" / "examples.arrow").append(bench.scored[0].batch)


@pytest.mark.parametrize("name", ["gaussian", "twotower", "popular"])
@pytest.mark.parametrize("delay_ms", [0, 7_200_000])
def test_one_pass_offline_ends_where_the_online_learner_is(name: str, delay_ms: int, tmp_path: Path) -> None:
    bench = Bench(LEARNERS[name], labelled=name == "gaussian", delay_ms=delay_ms).run(stop=400)
    one = filled(offline(tmp_path, name, name == "gaussian"), bench)
    one.begin_day()
    assert digest(copies(one).learners[name].tree()) == digest(bench.learner.tree())
    assert digest(copies(one).catalogue.tree()) == digest(bench.catalogue.tree())
    one.spill.close()


def test_further_passes_go_over_what_is_known_and_only_where_they_help(tmp_path: Path) -> None:
    seen: list[int] = []

    class Again(Learner):
        name = "again"

        def relearn(self, batch: ExampleBatch) -> None:
            seen.extend(batch.offset_B.tolist())

        def learn(self, batch: ExampleBatch) -> None:
            assert not seen

    bench = Bench(LEARNERS["popular"], labelled=False, delay_ms=7_200_000).run(stop=400)
    one = filled(offline(tmp_path, "popular", False, passes=3), bench)
    one.make = lambda catalogue: {"again": Again(Again.Config(), context(False, catalogue))}
    one.begin_day()
    known = 400 - len(bench.trainer.pending)
    assert 0 < known < 400
    assert seen == bench.rows.offset_B[:known].tolist() * 2
    one.spill.close()


def test_it_serves_one_day_in_so_many_and_counts_what_every_day_would_take(tmp_path: Path) -> None:
    bench = Bench(LEARNERS["popular"], labelled=False).run(stop=400)
    one = offline(tmp_path, "popular", False, stride=3)
    spoke = []
    for part in bench.scored:
        one.spill.append(part.batch)
        one.begin_day()
        spoke.append(bool(one.score(part.batch, part.request)))
    assert spoke == [True, False, False, True, False, False, True, False]
    assert one.trainings == 3
    assert one.trained_rows == 50 + 200 + 350
    assert one.daily_rows == 50 * (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8)
    one.spill.close()


@pytest.mark.parametrize(
    ("days", "passes", "budget", "expected"), [(2, 3, 20, 1), (16, 3, 20, 2), (700, 3, 20, 53), (0, 3, 20, 1)]
)
def test_a_long_log_is_served_every_few_days(days: float, passes: int, budget: float, expected: int) -> None:
    assert stride(days, passes, budget) == expected
