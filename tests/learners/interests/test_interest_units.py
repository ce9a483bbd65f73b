"""What STIM reads of a unit of interests, and systems that stand in the place of its own."""

from typing import Any, ClassVar

import numpy as np
import pytest

from ebbtide.api import open_log
from ebbtide.config import RunConfig
from ebbtide.running.made_up import MadeUp
from ebbtide.running.plan import plan, subject, trainer_of
from learners.check import CHECKS
from learners.checks.bench import Case
from learners.contract import Settings
from learners.interests.contract import Unit
from learners.registry import learner
from learners.systems.stim import InterestSettings, Stim, StimSettings
from state.errors import InputError
from state.tree import digest
from tests.learners.copying.test_copy_path import Bench, habits
from tests.learners.streams import context


class OverSine(StimSettings, frozen=True, kw_only=True):
    interests: InterestSettings | str = "sine"


class StimOverSine(Stim):
    name: ClassVar[str] = "stim-over-sine"
    Config: ClassVar[type[Settings]] = OverSine


@pytest.mark.parametrize("asked", CHECKS)
def test_stim_over_another_unit_keeps_the_contract(asked: str) -> None:
    CHECKS[asked](Case(StimOverSine, False, MadeUp, None))


@pytest.mark.parametrize("name", ["twotower", "sine"])
def test_what_is_read_of_a_unit_is_what_it_ranks_by_and_changes_nothing(name: str) -> None:
    bench = Bench(name).run(habits(days=6))
    unit: Any = bench.learners[name]
    assert issubclass(learner(name), Unit)
    batch, size = bench.scored[-1].batch, len(bench.catalogue)
    before = digest(unit.tree())
    score_BN, users = unit.rank(batch), unit.users(batch)
    count_B = np.arange(len(batch)) % 4
    item_C = np.random.default_rng(0).integers(0, size, count_B.sum())
    logit_C = unit.logits(users, np.concatenate([[0], np.cumsum(count_B)]), item_C)
    np.testing.assert_allclose(
        logit_C, score_BN[np.repeat(np.arange(len(batch)), count_B), item_C], rtol=1e-4
    )
    row_B = np.arange(len(batch))
    nearest_BM = unit.nearest(users, row_B, 5, size)
    best_BM = np.take_along_axis(score_BN, nearest_BM, 1)
    assert (np.diff(best_BM) <= 1e-4).all()
    looked_at = [n for n in unit.nearest(users, row_B, size, size)[0].tolist() if n >= 0]
    np.testing.assert_allclose(best_BM, np.sort(score_BN[:, looked_at], 1)[:, ::-1][:, :5], rtol=1e-4)
    assert (unit.nearest(users, row_B, size + 3, size)[:, size:] == -1).all()
    some = unit.nearest(users, row_B[3:5], 5, size)
    assert np.array_equal(some, nearest_BM[3:5])
    assert digest(unit.tree()) == before
    assert len(unit.anew(unit.context).table) == 0


def test_a_system_that_knows_no_interests_is_refused() -> None:
    stim = learner("stim")
    with pytest.raises(
        InputError, match=r"expected a system that knows a user by interests \(mmq, sine, twotower\)"
    ):
        stim(StimSettings(interests="din"), context())
    with pytest.raises(InputError, match="no learner is called 'sin'"):
        stim(StimSettings(interests="sin"), context())


def test_ablation_puts_the_built_in_unit_back_and_leaves_out_its_parts() -> None:
    config = RunConfig(ablate=True, floors=False, learners={"stim": {"interests": "sine"}})
    of = subject(config, open_log("planted:users=5,items=5,events=60,labels=0"))
    names = {name.partition(": ")[2] for name in trainer_of(plan(config, of), config, of).learners}
    assert "built-in interests" in names
    assert "one interest" not in names
    plain = RunConfig(ablate=True, floors=False)
    names = {name.partition(": ")[2] for name in trainer_of(plan(plain, of), plain, of).learners}
    assert "built-in interests" not in names
    assert "one interest" in names
