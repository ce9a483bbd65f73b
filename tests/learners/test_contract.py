"""What every learner must do, run on each one that there is. A new learner is tested by being there.

An exemption names the learner, the check and the reason.
"""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from learners.contract import Context, Learner
from learners.registry import floors, learner, names
from learners.tables.catalogue import Catalogue
from learners.tables.expiry import Expiry
from learners.tables.leaveout import Had
from learners.tables.true_ranks import MISSED
from learners.training.trainer import Scored, Trainer
from state.errors import InputError
from state.examples import ExampleBatch, concat
from state.memory.users import MemoryConfig
from state.tree import Tree, digest, flatten
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch

LEARNERS = {name: learner(name) for name in names()}
EXEMPT: dict[tuple[str, str], str] = {
    (
        "river-ftrl",
        "saved",
    ): "river's models are Python objects without a tree; a run with one cannot be resumed",
    (
        "river-ftrl",
        "bounded",
    ): "river's models keep a weight for every feature they have met, and none can be taken from them",
}
SIZE = 600
DAY_MS = 86_400_000


def events(labelled: bool, seed: int = 0) -> EventBatch:
    """Users with a favourite each, places, ties in time, and items that come and go."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, 12, SIZE)
    age = np.arange(SIZE) // 40
    item = np.where(rng.random(SIZE) < 0.5, user % 5, age + rng.integers(0, 6, SIZE))
    place = rng.integers(0, 3, SIZE)
    return EventBatch.of(
        user=user,
        item=item,
        time_ms=1_500_000_000_000 + np.cumsum(rng.integers(0, 4, SIZE)) * 1_800_000,
        category=item % 4,
        session=user * 1000 + age,
        lat=40.7 + place * 0.01,
        lon=-74.0 + place * 0.01,
        **({"label": ((user + item) % 3 == 0).astype(np.float32)} if labelled else {}),
    )


def context(labelled: bool, catalogue: Catalogue, seed: int = 0) -> Context:
    roles = frozenset({"user", "item", "time", "category", "session", "lat", "lon"})
    return Context(
        labelled=labelled, roles=roles | ({"label"} if labelled else set()), catalogue=catalogue, seed=seed
    )


class Bench:
    """One learner on a stream of its own, batch after batch."""

    def __init__(
        self,
        cls: type[Learner],
        labelled: bool,
        *,
        seed: int = 0,
        delay_ms: int = 0,
        expire_ms: int | None = None,
    ) -> None:
        self.catalogue = Catalogue()
        self.learner = cls(cls.Config(), context(labelled, self.catalogue, seed))
        needs = self.learner.needs
        config = OperatorConfig(label_delay_ms=delay_ms, memory=MemoryConfig(expire_ms=expire_ms))
        self.operator = Operator(config, needs.window, needs.views)
        self.scored: list[Scored] = []
        self.trainer = Trainer(
            {cls.name: self.learner},
            self.catalogue,
            Had("none"),
            listeners=(self.scored.append,),
            expiry=None if expire_ms is None else Expiry(expire_ms, every=64),
        )
        self.stream = events(labelled)

    def run(self, start: int = 0, stop: int = SIZE, size: int = 50) -> "Bench":
        for at in range(start, stop, size):
            part = self.stream.take(slice(at, min(at + size, stop)))
            self.trainer.step(self.operator.process(part, int(part.time_ms_B[-1])))
        return self

    @property
    def rows(self) -> ExampleBatch:
        return concat([part.batch for part in self.scored])

    def said(self) -> tuple[list[float], list[int]]:
        outcomes = [part.outcomes[self.learner.name] for part in self.scored]
        p = [x for o in outcomes if o.p_B is not None for x in o.p_B.tolist()]
        rank = [x for o in outcomes if o.rank_R is not None for x in o.rank_R.tolist()]
        return p, rank


def benches() -> list[tuple[str, bool]]:
    """Every learner on the kinds of log that it takes."""
    return [
        (name, labelled)
        for name, cls in LEARNERS.items()
        for labelled in (True, False)
        if labelled or cls.ranks
    ]


each = pytest.mark.parametrize(("name", "labelled"), benches(), ids=lambda value: str(value))


def skip_exempt(name: str, check: str) -> bool:
    return (name, check) in EXEMPT


def test_discovery_finds_the_model_and_the_floors() -> None:
    assert {"gaussian", "twotower", "rates", "popular", "habits", "successors"} <= set(LEARNERS)
    assert [name for name, cls in LEARNERS.items() if cls.floor] == floors()
    assert floors() == ["habits", "popular", "rates", "successors"]
    assert all(name == cls.name for name, cls in LEARNERS.items())
    assert all(cls.predicts or cls.ranks for cls in LEARNERS.values())
    assert {name for name, check in EXEMPT if check == "saved"} == {
        n for n, c in LEARNERS.items() if not c.saved
    }


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


@pytest.mark.parametrize("name", [name for name, cls in LEARNERS.items() if not cls.ranks])
def test_a_learner_that_only_predicts_refuses_a_log_without_labels(name: str) -> None:
    with pytest.raises(InputError, match="label"):
        Bench(LEARNERS[name], labelled=False)


@each
def test_scoring_changes_nothing(name: str, labelled: bool) -> None:
    bench = Bench(LEARNERS[name], labelled).run(stop=400)
    rows = bench.rows.take(slice(300, 360))
    again = Bench(LEARNERS[name], labelled).run(stop=400)
    for _ in range(2):
        if bench.learner.predicting:
            first, second = bench.learner.score(rows), bench.learner.score(rows)
            assert first.tolist() == second.tolist()
        if bench.learner.ranks:
            assert np.array_equal(bench.learner.rank(rows), bench.learner.rank(rows))
    if not skip_exempt(name, "saved"):
        assert digest(bench.learner.tree()) == digest(again.learner.tree())
    assert bench.run(400).said() == again.run(400).said()


@each
def test_a_batch_is_scored_like_its_rows_one_by_one(name: str, labelled: bool) -> None:
    bench = Bench(LEARNERS[name], labelled).run(stop=400)
    rows = bench.rows.take(slice(330, 360))
    singles = [rows.take(slice(i, i + 1)) for i in range(len(rows))]
    if bench.learner.predicting:
        one_by_one = np.concatenate([bench.learner.score(row) for row in singles])
        assert bench.learner.score(rows).tolist() == one_by_one.tolist()
    if bench.learner.ranks:
        stacked = np.concatenate([bench.learner.rank(row) for row in singles])
        np.testing.assert_allclose(bench.learner.rank(rows), stacked, rtol=1e-5, atol=1e-6)


@each
def test_what_it_says_is_in_range_from_the_first_event(name: str, labelled: bool) -> None:
    bench = Bench(LEARNERS[name], labelled).run(size=1, stop=60)
    for part in bench.scored:
        outcome = part.outcomes[name]
        if bench.learner.predicting:
            assert outcome.p_B is not None
            assert ((outcome.p_B > 0) & (outcome.p_B < 1)).all()
        if bench.learner.ranks:
            assert outcome.rank_R is not None
            assert (outcome.rank_R >= 1).all()
            unknown_R = part.request.true_R < 0
            assert (outcome.rank_R[unknown_R] == MISSED).all()
            assert (outcome.rank_R[~unknown_R] <= part.request.size_R[~unknown_R]).all()


@each
def test_the_same_seed_says_the_same_and_learns_the_same(name: str, labelled: bool) -> None:
    first, second = (Bench(LEARNERS[name], labelled, seed=3).run() for _ in range(2))
    assert first.said() == second.said()
    if not skip_exempt(name, "saved"):
        assert digest(first.learner.tree()) == digest(second.learner.tree())


@each
def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(name: str, labelled: bool) -> None:
    if skip_exempt(name, "saved"):
        with pytest.raises(InputError, match="cannot be"):
            Bench(LEARNERS[name], labelled).run(stop=100).trainer.tree()
        return
    whole = Bench(LEARNERS[name], labelled, delay_ms=3_600_000).run(stop=300)
    resumed = Bench(LEARNERS[name], labelled, delay_ms=3_600_000)
    resumed.trainer.load(whole.trainer.tree())
    resumed.operator.load(whole.operator.tree())
    whole.scored.clear()
    assert whole.run(300).said() == resumed.run(300).said()
    assert digest(whole.trainer.tree()) == digest(resumed.trainer.tree())


@each
def test_ids_it_has_never_seen_are_no_trouble(name: str, labelled: bool) -> None:
    bench = Bench(LEARNERS[name], labelled).run(stop=300)
    rows = bench.rows.take(slice(0, 20))
    strange = replace(rows, user_B=rows.user_B + 10**15, item_B=rows.item_B + 10**15)
    if bench.learner.predicting:
        assert np.isfinite(bench.learner.score(strange)).all()
    if bench.learner.ranks:
        assert not np.isnan(bench.learner.rank(strange)).any()
        assert bench.learner.rank(strange).shape == (20, len(bench.catalogue))


@each
def test_nothing_younger_than_the_delay_is_known(name: str, labelled: bool) -> None:
    """Under a delay longer than the log, no outcome that is changed afterwards can change what was said."""
    bench = Bench(LEARNERS[name], labelled, delay_ms=10**12)
    other = Bench(LEARNERS[name], labelled, delay_ms=10**12)
    if labelled:
        other.stream = replace(other.stream, label_B=1 - other.stream.label_B)
        assert bench.run().said()[0] == other.run().said()[0]
    else:
        assert set(bench.run().said()[1]) == {MISSED}


@each
def test_vectors_come_in_one_width_and_name_what_changed(name: str, labelled: bool) -> None:
    bench = Bench(LEARNERS[name], labelled).run(stop=300)
    changed = bench.learner.changed_items()
    vectors = bench.learner.item_vectors(changed)
    interests = bench.learner.interests(bench.rows.take(slice(250, 300)))
    assert (vectors is None) == (interests is None)
    if vectors is not None and interests is not None:
        assert len(changed) > 0
        assert vectors.shape == (len(changed), interests.shape[2])
        assert len(bench.learner.interest_names) == interests.shape[1]
        assert np.isfinite(vectors).all()
        assert np.isfinite(interests).all()
        assert len(bench.learner.changed_items()) == 0


def endless(labelled: bool, size: int) -> EventBatch:
    """A row every 20 minutes; nobody and nothing is there for longer than a day, and nobody comes back."""
    rng = np.random.default_rng(0)
    step = np.arange(size)
    user, item = step // 15 + rng.integers(0, 5, size), step // 12 + rng.integers(0, 6, size)
    place = step // 50
    return EventBatch.of(
        user=user,
        item=10_000_000 + item,
        time_ms=1_500_000_000_000 + step * 1_200_000,
        category=step // 200,
        session=step // 30,
        lat=40.0 + place * 0.01,
        lon=-74.0 + place * 0.01,
        **({"label": ((user + item) % 3 == 0).astype(np.float32)} if labelled else {}),
    )


def size_of(tree: Tree) -> int:
    """Bytes of its arrays."""
    return sum(leaf.nbytes for _, leaf in flatten(tree) if isinstance(leaf, np.ndarray))


@each
def test_memory_is_bounded_on_a_stream_without_an_end(name: str, labelled: bool) -> None:
    """Left to grow, everything would double from the rows that are early here to those that are late."""
    if skip_exempt(name, "bounded"):
        return
    bench = Bench(LEARNERS[name], labelled, expire_ms=DAY_MS)
    bench.stream = endless(labelled, 2000)
    sizes = []
    for start in range(0, 2000, 50):
        bench.run(start, start + 50)
        bench.scored.clear()
        sizes.append((size_of(bench.learner.tree()), size_of(bench.trainer.tree()), len(bench.catalogue)))
    early, late = np.array(sizes[10:20]).max(0), np.array(sizes[30:]).max(0)
    assert (late <= 1.4 * early).all(), f"{early} bytes, bytes with the trainer's, and items grew to {late}"
    assert late[2] < 30
