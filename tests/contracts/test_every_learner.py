"""What every learner must do, run on each one that there is. A new learner is tested by being there.

An exemption names the learner, the check and the reason.
"""

import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest

import ebbtide
from ebbtide.running.made_up import MadeUp
from learners import check
from learners.check import CHECKS
from learners.checks import bench
from learners.checks.bench import SIZE, BrokenError, Case
from learners.checks.bench import context_of as context
from learners.contract import Learner, Needs
from learners.registry import floors, learner, names
from learners.tables.expiry import Forgotten
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s
from state.tree import Tree

__all__ = ["LEARNERS", "SIZE", "Bench", "context"]
LEARNERS = {name: learner(name) for name in names()}
EXEMPT: dict[tuple[str, str], str] = {
    (
        "river-ftrl",
        "memory_is_bounded",
    ): "river's models keep a weight for every feature they have met, and none can be taken from them",
}
UNSAVED = {"river-ftrl": "river's models are Python objects without a tree; a run with one cannot be resumed"}


class Bench(bench.Bench):
    """One learner behind the operator that it has in a run."""

    def __init__(self, cls: type[Learner], labelled: bool, **more: Any) -> None:
        super().__init__(cls, labelled, MadeUp, **more)


def test_discovery_finds_the_model_and_the_floors() -> None:
    assert {"gaussian", "twotower", "rates", "popular", "habits", "successors"} <= set(LEARNERS)
    assert [name for name, cls in LEARNERS.items() if cls.floor] == floors()
    assert floors() == ["habits", "popular", "rates", "successors"]
    assert all(name == cls.name for name, cls in LEARNERS.items())
    assert set(UNSAVED) == {name for name, cls in LEARNERS.items() if not cls.saved}


def test_who_is_not_asked_for_is_not_imported() -> None:
    code = """
import sys
from learners import registry
assert not {name for name in sys.modules if name.startswith("learners.systems.")}
registry.names()
registry.learner("stim")
assert not {"torch", "river", "learners.systems.din"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{'labelled' if case.labelled else 'unlabelled'}")
        for name, cls in LEARNERS.items()
        for case in check.cases(cls, MadeUp)
    ],
)
@pytest.mark.parametrize("asked", CHECKS)
def test_a_learner_keeps_the_contract(asked: str, name: str, case: Case) -> None:
    if (name, asked) not in EXEMPT:
        CHECKS[asked](case)


class Sound(Learner):
    """Counts how often an item was taken, and how often the answer was yes. The others spoil a part of it."""

    name: ClassVar[str] = "sound"
    predicts: ClassVar[bool] = True
    ranks: ClassVar[bool] = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.yes = np.array([1.0, 2.0])
        self.changed: list[int] = []

    def score(self, batch: ExampleBatch) -> Doubles:
        return np.full(len(batch), self.yes[0] / self.yes[1])

    def rank(self, batch: ExampleBatch) -> Floats:
        catalogue = self.context.catalogue
        count_N = catalogue.total_NR[: len(catalogue), 0]
        return np.tile(count_N, (len(batch), 1)).astype(np.float32)

    def learn(self, batch: ExampleBatch) -> None:
        self.yes += ((batch.label_B > 0.5).sum(), len(batch))
        self.changed += batch.item_B.tolist()

    def item_vectors(self, keys_N: Int64s) -> Floats | None:
        return np.ones((len(keys_N), 2), np.float32)

    def interests(self, batch: ExampleBatch) -> Floats | None:
        return np.ones((len(batch), 1, 2), np.float32)

    @property
    def interest_names(self) -> tuple[str, ...]:
        return ("all",)

    def changed_items(self) -> Int64s:
        changed, self.changed = np.unique(np.array(self.changed, np.int64)), []
        return changed

    def forget(self, forgotten: Forgotten) -> None:
        self.changed = []

    def tree(self) -> Tree:
        return {"yes": self.yes.copy(), "changed": np.unique(np.array(self.changed, np.int64))}

    def load(self, tree: Tree) -> None:
        self.yes, self.changed = np.array(tree["yes"]), tree["changed"].tolist()


class Moved(Sound):
    def score(self, batch: ExampleBatch) -> Doubles:
        self.yes += 1.0
        return super().score(batch)


class ByPlaceInTheBatch(Sound):
    def score(self, batch: ExampleBatch) -> Doubles:
        return np.linspace(0.2, 0.3, len(batch))


class Certain(Sound):
    def score(self, batch: ExampleBatch) -> Doubles:
        return np.ones(len(batch))


class Drawn(Sound):
    def learn(self, batch: ExampleBatch) -> None:
        super().learn(batch)
        self.yes[1] += np.random.default_rng().random()


class Known(Sound):
    def rank(self, batch: ExampleBatch) -> Floats:
        score_BN = super().rank(batch)
        score_BN[batch.user_B > 10**14] = np.nan
        return score_BN


class Early(Sound):
    def score(self, batch: ExampleBatch) -> Doubles:
        return np.where(batch.label_B > 0.5, 0.9, 0.1)


class Peeking(Sound):
    def rank(self, batch: ExampleBatch) -> Floats:
        score_BN = super().rank(batch)
        row_B = self.context.catalogue.items.rows(batch.item_B)
        known_B = row_B >= 0
        score_BN[np.flatnonzero(known_B), row_B[known_B]] += 9 * batch.category_B[known_B]
        return score_BN


class Narrow(Sound):
    def interests(self, batch: ExampleBatch) -> Floats | None:
        return np.ones((len(batch), 1, 3), np.float32)


class Forgetful(Sound):
    def tree(self) -> Tree:
        return {}

    def load(self, tree: Tree) -> None: ...


class Stubborn(Sound):
    doubts: ClassVar[bool] = True

    def doubt(self, share: float) -> None: ...


class Overflowing(Sound):
    def rank(self, batch: ExampleBatch) -> Floats:
        since_s = np.diff(batch.time_ms_B, prepend=0) / 1000 - 1_600_000_000
        far_B = np.abs(since_s) > 10**10
        return np.where(far_B[:, np.newaxis], np.nan, super().rank(batch)).astype(np.float32)


class Hoarding(Sound):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.seen: set[int] = set()

    def learn(self, batch: ExampleBatch) -> None:
        super().learn(batch)
        self.seen |= set(batch.user_B.tolist())

    def tree(self) -> Tree:
        return {**super().tree(), "seen": np.array(sorted(self.seen), np.int64)}

    def load(self, tree: Tree) -> None:
        super().load(tree)
        self.seen = set(tree["seen"].tolist())


class Needy(Sound):
    ablations: ClassVar = {"none/such": {}}


BROKEN: dict[type[Learner], tuple[str, str]] = {
    Needy: ("what_it_declares_holds", "ablations: expected a name without '/', got 'none/such'"),
    Certain: ("answers_are_in_range", "score: expected P(action) in (0, 1), got [1."),
    Moved: (
        "scoring_changes_nothing",
        "score: expected the same for the same rows, got other values for 60 of",
    ),
    ByPlaceInTheBatch: (
        "a_batch_is_its_rows",
        "score: expected of a batch what its rows get one by one, got",
    ),
    Drawn: ("the_seed_decides", "step: expected the same answers of the same seed, got others; draw from"),
    Known: ("unknown_ids_are_no_trouble", "rank: expected numbers for users never seen, got nan for"),
    Early: ("no_outcome_is_known_early", "score: expected the same whatever the labels are"),
    Peeking: ("what_is_the_items_own_moves_no_rank", "rank: expected the same ranks whatever the row's own"),
    Narrow: ("vectors_fit", "item_vectors: expected shape (13, 3), the width of interests, got (13, 2)"),
    Forgetful: ("loaded_it_goes_on", "load: expected the answers of a learner that was not saved and loaded"),
    Stubborn: ("doubting_is_felt_and_kept", "doubt: expected other answers later, got the same"),
    Overflowing: ("no_gap_breaks_it", "rank: expected numbers after gaps of centuries, got nan for"),
    Hoarding: ("memory_is_bounded", "tree: expected about "),
}


def test_a_sound_learner_passes() -> None:
    ebbtide.check(Sound)


def test_every_check_finds_the_learner_that_breaks_it() -> None:
    assert [asked for asked, _ in BROKEN.values()] == list(CHECKS)


@pytest.mark.parametrize(("cls", "asked", "said"), [(cls, *told) for cls, told in BROKEN.items()])
def test_a_broken_learner_is_told_what_to_do(cls: type[Learner], asked: str, said: str) -> None:
    with pytest.raises(BrokenError) as caught:
        CHECKS[asked](Case(cls, True, MadeUp))
    assert str(caught.value).startswith(said)


def test_all_that_is_broken_is_said_at_once_and_what_is_exempt_is_left_out() -> None:
    class Both(Certain, Narrow):
        pass

    with pytest.raises(
        InputError, match="Both breaks 4 promises of a learner: answers_are_in_range"
    ) as caught:
        ebbtide.check(Both, exempt={"memory_is_bounded": "not asked here"})
    assert isinstance(caught.value, BrokenError)
    assert [one.partition(":")[0] for one in caught.value.each] == [
        "answers_are_in_range (with labels)",
        "vectors_fit (with labels)",
        "no_gap_breaks_it (with labels)",
        "vectors_fit (without labels)",
    ]
    with pytest.raises(
        InputError, match=r"exempt: expected a reason for some of what_it_declares_holds, .*'all'"
    ):
        ebbtide.check(Both, exempt={"all": "no"})


def test_what_a_learner_raises_is_said_with_its_place() -> None:
    class Raising(Sound):
        @property
        def needs(self) -> Needs:
            raise ZeroDivisionError("no")

    with pytest.raises(
        InputError, match=r"expected an answer, got ZeroDivisionError: no \(test_every_learner.py:\d+\)"
    ):
        ebbtide.check(Raising)


def test_one_that_only_predicts_must_refuse_a_log_without_labels() -> None:
    class Silent(Sound):
        ranks: ClassVar[bool] = False

    with pytest.raises(BrokenError, match="__init__: expected InputError on a log without labels"):
        CHECKS["what_it_declares_holds"](Case(Silent, True, MadeUp))
