"""The copy path: exact ranks, candidates that are what they should be, and habits that are learned."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from learners.contract import Context, RankRequest
from learners.copying.candidates.sample import BEST, DRAWN
from learners.copying.settings import CopySettings
from learners.registry import learner
from learners.systems.stim import Stim, StimSettings
from learners.tables.catalogue import Catalogue
from learners.tables.leaveout import Had, Rule
from learners.tables.true_ranks import MISSED, true_ranks
from learners.training.trainer import Scored, Trainer
from state.examples import ExampleBatch
from state.keys import Int64s
from state.tree import digest
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MONDAY_MS = 1_500_854_400_000
ROLES = frozenset({"user", "item", "time", "category", "clock"})


def habits(days: int = 60, users: int = 12, seed: int = 0) -> EventBatch:
    """Everyone has a place for mornings, one for evenings, one for weekends, and wanders now and then."""
    rng = np.random.default_rng(seed)
    user, item, time = [], [], []
    for day in range(days):
        for hour in (8, 19):
            for u in range(users):
                weekend = day % 7 in (5, 6)
                place = 100 + u if hour == 8 else 200 + u % 5
                place = 300 + u % 7 if weekend else place
                place = int(rng.integers(0, 60)) if rng.random() < 0.2 else place
                user.append(u)
                item.append(place)
                time.append(MONDAY_MS + day * DAY_MS + hour * HOUR_MS + int(rng.integers(0, 1800)) * 1000)
    order = np.argsort(time, kind="stable")
    item_B = np.array(item)[order]
    return EventBatch.of(
        user=np.array(user)[order], item=item_B, time_ms=np.array(time)[order], category=item_B // 100
    )


DEFAULTS = StimSettings()


class Bench:
    """Learners on one stream of their own, every row ranked."""

    def __init__(
        self,
        *names: str,
        rule: Rule = "none",
        stim: StimSettings = DEFAULTS,
        label_delay_ms: int = 0,
        rank_share: float = 1.0,
    ) -> None:
        self.catalogue = Catalogue()
        context = Context(labelled=False, roles=ROLES, catalogue=self.catalogue, seed=0)
        self.learners = {
            name: learner(name)(stim if name == "stim" else learner(name).Config(), context) for name in names
        }
        operator = OperatorConfig(label_delay_ms=label_delay_ms)
        self.operator = Operator(operator, max(made.needs.window for made in self.learners.values()))
        self.scored: list[Scored] = []
        self.trainer = Trainer(
            self.learners,
            self.catalogue,
            Had(rule),
            rank_share=rank_share,
            listeners=(self.scored.append,),
        )

    def run(self, events: EventBatch, size: int = 64) -> "Bench":
        for start in range(0, len(events), size):
            part = events.take(slice(start, start + size))
            self.trainer.step(self.operator.process(part, int(part.time_ms_B[-1])))
        return self

    @property
    def stim(self) -> Stim:
        made = self.learners["stim"]
        assert isinstance(made, Stim)
        return made

    def recall(self, name: str, k: int = 1, since: float = 0.5) -> float:
        said = [s.outcomes[name].rank_R for s in self.scored]
        rank = np.concatenate([rank_R for rank_R in said if rank_R is not None])
        return float((rank[int(len(rank) * since) :] <= k).mean())

    def now(self, rows: int = 20) -> ExampleBatch:
        return self.scored[-1].batch.take(slice(0, rows))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench("stim", "habits", "popular").run(habits())


def test_it_learns_habits_better_than_counting_them(bench: Bench) -> None:
    assert bench.recall("stim") > bench.recall("habits") + 0.03
    assert bench.recall("habits") > bench.recall("popular") + 0.2


def request(bench: Bench, batch: ExampleBatch, left_out: Int64s) -> RankRequest:
    size = len(bench.catalogue)
    true_R = bench.catalogue.items.rows(batch.item_B)
    left = [[n for n in left_out.tolist() if n != true] for true in true_R.tolist()]
    start = np.cumsum([0, *map(len, left)])
    flat = np.array([n for part in left for n in part], np.int64)
    return RankRequest(np.arange(len(batch)), true_R, np.full(len(batch), size), start, flat)


@pytest.mark.parametrize("left_out", [[], [0, 1, 5, 17, 40]])
def test_ranks_are_those_of_the_whole_catalogue(bench: Bench, left_out: list[int]) -> None:
    batch = bench.now()
    strange = np.resize(bench.catalogue.items.keys[: len(bench.catalogue)], len(batch))
    for rows in (batch, replace(batch, item_B=strange)):
        asked = request(bench, rows, np.array(left_out, np.int64))
        expected = np.empty(len(rows), np.int64)
        true_ranks(
            bench.stim.rank(rows), asked.true_R, asked.size_R, asked.left_start_R1, asked.left_out, expected
        )
        assert bench.stim.ranked(rows, asked).tolist() == expected.tolist()


def test_an_item_that_nobody_knew_is_missed(bench: Bench) -> None:
    batch = replace(bench.now(3), item_B=np.array([10**9, 10**9, 10**9]))
    asked = request(bench, batch, np.zeros(0, np.int64))
    assert bench.stim.ranked(batch, asked).tolist() == [MISSED] * 3


def test_every_own_item_is_a_candidate_where_people_return(bench: Bench) -> None:
    batch = bench.now()
    score_BN = bench.stim.rank(batch)
    assert batch.window is not None
    for b in range(len(batch)):
        own = bench.catalogue.items.rows(batch.window.item_BW[b, : batch.window.length_B[b]])
        assert (score_BN[b, own[own >= 0]] > -1e3).all()


def test_what_is_never_repeated_is_no_candidate() -> None:
    rng = np.random.default_rng(1)
    item = np.concatenate([rng.permutation(80)[:50] for _ in range(12)])
    events = EventBatch.of(
        user=np.repeat(np.arange(12), 50), item=item, time_ms=MONDAY_MS + np.arange(600) * HOUR_MS
    )
    bench = Bench("stim", rule="user").run(events)
    batch = bench.now()
    assert batch.window is not None
    score_BN = bench.stim.rank(batch)
    for b in range(len(batch)):
        own = bench.catalogue.items.rows(batch.window.item_BW[b, : batch.window.length_B[b]])
        assert (score_BN[b, own[own >= 0]] < -1e3).all()


@pytest.mark.parametrize("name", sorted(set(Stim.ablations) - {"built-in interests"}))
def test_each_part_can_be_switched_off(name: str) -> None:
    """The built-in interests are a variant of STIM over another unit; of STIM as it is they are none."""
    settings = msgspec.convert(Stim.ablations[name], StimSettings)
    events = habits(days=6, users=6)
    bench = Bench("stim", stim=settings).run(events)
    assert settings != StimSettings()
    assert 0.0 <= bench.recall("stim", 10) <= 1.0


def test_without_the_copy_path_habits_are_hardly_learned(bench: Bench) -> None:
    without = Bench("stim", stim=StimSettings(copy=CopySettings(memory=False))).run(habits())
    assert without.recall("stim") < bench.recall("stim") - 0.1


def test_what_is_learned_does_not_depend_on_what_is_ranked() -> None:
    events = habits(days=20)
    trees = []
    for rank_share in (0.0, 0.3, 1.0):
        copy = Bench("stim", rank_share=rank_share, label_delay_ms=HOUR_MS).run(events).stim.copy
        assert copy is not None
        trees.append({name: part for name, part in copy.tree().items() if name != "ledger"})
    assert digest(trees[0]) == digest(trees[1]) == digest(trees[2])


def test_a_row_waits_with_a_sample_and_a_request_that_is_kept_is_whole() -> None:
    rng = np.random.default_rng(0)
    events = EventBatch.of(
        user=rng.integers(0, 40, 1500),
        item=(300 * rng.random(1500) ** 2).astype(np.int64),
        time_ms=MONDAY_MS + np.arange(1500) * HOUR_MS,
    )
    copy = Bench("stim", label_delay_ms=2 * DAY_MS).run(events).stim.copy
    assert copy is not None
    waiting = copy.queue.tree()
    counts_R = np.diff(waiting["start_R1"])
    assert BEST + DRAWN <= counts_R.max() <= BEST + DRAWN + 1
    assert ((counts_R == 0) == (waiting["true_R"] < 0)).all()
    assert np.diff(copy.kept.evidence().start_R1).max() > 2 * (BEST + DRAWN)


def test_where_users_return_there_are_fewer_strangers(bench: Bench) -> None:
    copy = bench.stim.copy
    assert copy is not None
    repeats = copy.search.repeats[0] / copy.search.repeats[1]
    assert repeats > 0.7
    assert copy.search.strangers(48) == np.ceil(48 * (1.0 - repeats))
    begun = Bench("stim").stim.copy
    assert begun is not None
    assert begun.search.strangers(48) == 48


def test_rows_that_would_wait_beyond_the_bound_are_not_learned() -> None:
    settings = StimSettings(copy=CopySettings(most_waiting=0))
    bench = Bench("stim", stim=settings).run(habits(days=6))
    assert bench.stim.copy is not None
    assert not bench.stim.copy.mixture.linear_F.any()


def test_without_it_ranking_goes_by_the_interests() -> None:
    events = habits(days=20)
    bench = Bench("stim", stim=StimSettings(copy=CopySettings(on=False))).run(events)
    alone = Bench("twotower").run(events)
    assert bench.recall("stim", 10) == alone.recall("twotower", 10)


def test_gates_and_curves_are_told(bench: Bench) -> None:
    insight = bench.stim.insight()
    assert insight is not None
    assert insight.experts[0] == "recent"
    assert len(insight.gate_by_hour) == 24
    assert {curve.name for curve in insight.curves} >= {"own event", "same hour"}
