"""A further pass: the mixture sees the evidence of serving again, and nothing is counted twice."""

import numpy as np
import pytest

from learners.mixing.mixture import Evidence, Mixture
from learners.systems.stim import Stim, StimSettings
from learners.tables.catalogue import Catalogue
from learners.training.served import Copies
from state.tree import Tree, digest
from tests.contracts.test_every_learner import Bench, context


def passed(bench: Bench) -> Stim:
    """The bench's learner after one more pass over all that it has learned."""
    learner = bench.learner
    assert isinstance(learner, Stim)
    for part in bench.scored:
        learner.relearn(part.batch)
    return learner


def trained(labelled: bool, delay_ms: int = 0) -> Bench:
    bench = Bench(Stim, labelled, delay_ms=delay_ms).run()
    bench.trainer.finish()
    return bench


def unmoved(tree: Tree) -> str:
    """Digest of what no gradient moves."""
    copy = {name: part for name, part in tree["copy"].items() if name != "mixture"}
    return digest({"copy": copy, "action": tree.get("action", {})})


@pytest.mark.parametrize("delay_ms", [0, 7_200_000])
def test_evidence_is_as_of_serving_in_every_pass(delay_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Evidence] = []
    learn = Mixture.learn

    def spy(self: Mixture, evidence: Evidence) -> None:
        seen.append(evidence)
        learn(self, evidence)

    monkeypatch.setattr(Mixture, "learn", spy)
    bench = trained(False, delay_ms)
    passes = [seen.copy()]
    for _ in range(2):
        seen.clear()
        passed(bench)
        passes.append(seen.copy())
    for again in passes[1:]:
        assert sum(len(part.true_R) for part in again) == len(bench.rows)
        for name in Evidence._fields:
            if name != "start_R1":
                first, now = (
                    np.concatenate([getattr(part, name) for part in parts]) for parts in (passes[0], again)
                )
                np.testing.assert_array_equal(first, now)


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_counted_or_solved_stays_and_what_moves_by_gradient_moves(labelled: bool) -> None:
    bench = trained(labelled)
    before = bench.learner.tree()
    after = passed(bench).tree()
    assert unmoved(before) == unmoved(after)
    assert digest(before["copy"]["mixture"]) != digest(after["copy"]["mixture"])
    assert digest(before["interests"]) != digest(after["interests"])


def test_two_retrainings_end_alike() -> None:
    assert digest(passed(trained(False)).tree()) == digest(passed(trained(False)).tree())


def test_what_was_retrained_is_served_from_its_tree() -> None:
    bench = trained(False)
    learner, catalogue = passed(bench), Catalogue()
    served = Stim(StimSettings(), context(False, catalogue))
    catalogue.load(bench.catalogue.tree())
    served.load(learner.tree())
    last = bench.scored[-1]
    ranks = Copies(catalogue, {"stim": served}).score(last.batch, last.request)["stim"].rank_R
    assert ranks is not None
    assert ranks.tolist() == learner.ranked(last.batch, last.request).tolist()
