"""Co-evolution: counts, groups, the slot's propensities, pairs, the gate, and cycles that may be cut off."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.simulated.simulation import Simulation
from ebbtide.simulated.world import WorldOptions
from learners.coevolution.contracts import Policy, Tuning
from learners.coevolution.cycle import CycleSettings
from learners.coevolution.entries import FADES_DAYS, KINDS, MOST, Past
from learners.coevolution.gate import chances, judge
from learners.coevolution.group_identity import encode, fitted, taste, unexplained
from learners.coevolution.history import DAY_MS, History, Outcomes, dense
from learners.coevolution.inputs import Asked
from learners.coevolution.novelty import CompactNovelty
from learners.coevolution.pairs import accepted, pairs
from learners.coevolution.personas import personas
from learners.coevolution.slates import Kept
from learners.coevolution.slot import BestOf, Epsilon, Greedy, Thompson, best_of, drawn
from learners.coevolution.system import CoEvolution
from learners.judging.off_policy import Shown, mean, snips, weights
from state.arrays import Bools, Doubles, Int64s
from state.errors import InputError
from state.tree import digest

WORLD = WorldOptions(users=60, groups=3, clusters=24, seed=3)
SETTINGS = CycleSettings(
    every=250, least_events=60, keep_slates=600, keep_held=300, hold_back=0.4, sizes=(4, 2)
)
STEPS = ("verified", "recoded", "paired", "tuned", "re-evaluated", "judged")


@pytest.fixture(scope="module")
def begun() -> Simulation:
    """A system with a Novelty model, and slates since."""
    torch.set_num_threads(1)
    simulation = Simulation(WORLD, SETTINGS)
    simulation.run(6)
    simulation.system.start(simulation.now_ms)
    simulation.run(8, "trained once")
    return simulation


def twin(system: CoEvolution) -> CoEvolution:
    other = CoEvolution(system.clusters, system.settings, system.seed)
    other.load(system.tree())
    return other


Columns = tuple[Int64s, Int64s, Bools, Int64s]


def fed(history: History, columns: Columns, start: int = 0, stop: int | None = None) -> History:
    user, cluster, taken, time_ms = columns
    part = slice(start, stop)
    history.add(user[part], cluster[part], taken[part], time_ms[part])
    return history


def events(draw_seed: int, count: int, days: float) -> Columns:
    """Users, clusters, whether accepted, times; in the order of time."""
    rng = np.random.default_rng(draw_seed)
    time_ms = np.sort(rng.integers(0, int(days * DAY_MS) + 1, count))
    return rng.integers(7, size=count), rng.integers(5, size=count), rng.random(count) < 0.4, time_ms


class TestCounts:
    @settings(max_examples=15, deadline=None)
    @given(
        seed=st.integers(0, 10_000),
        cuts=st.lists(st.integers(0, 120), max_size=6),
        days=st.sampled_from([0.0, 1.0, 40.0, 4_000.0]),
    )
    def test_batches_and_single_events_give_the_same_counts_personas_and_inputs(
        self, seed: int, cuts: list[int], days: float
    ) -> None:
        columns = events(seed, 120, days)
        found = []
        for places in (range(121), sorted({0, 120, *cuts})):
            history = History(5)
            for start, stop in pairwise(places):
                fed(history, columns, start, stop)
            now_ms = int(columns[3][-1]) + 1
            book = fitted(history.tastes(now_ms), (2, 2), np.random.default_rng(0))
            known = history.personas(book, now_ms)
            inputs = history.inputs(np.arange(8), now_ms, book, known)
            found.append((digest(history.tree()), digest(inputs._asdict()), known.everybody_C.tobytes()))
        assert found[0] == found[1]

    def test_counts_are_the_plain_sums_of_what_is_left(self) -> None:
        user, cluster, taken, time_ms = events(1, 300, 90.0)
        now_ms = 95 * DAY_MS
        past = fed(History(5), (user, cluster, taken, time_ms)).look(np.arange(7), np.full(7, now_ms))
        for kind, days in enumerate(FADES_DAYS):
            for place, counted in ((kind, taken), (KINDS + kind, np.ones(300, np.bool_))):
                plain = np.zeros((7, 5))
                for u, c, t in zip(user[counted], cluster[counted], time_ms[counted], strict=True):
                    plain[u, c] += 0.5 ** ((now_ms - t) / (days * DAY_MS))
                assert dense(past, past.count_BMK[:, :, place], 5) == pytest.approx(plain, rel=1e-5)

    def test_of_more_clusters_than_are_kept_the_longest_silent_is_forgotten(self) -> None:
        history, one = History(200), np.ones(1, np.int64)
        for cluster in range(MOST + 10):
            history.add(one, one * cluster, one > 0, one * cluster * DAY_MS)
        past = history.look(one, one * 100 * DAY_MS)
        assert sorted(past.cluster_BM[0].tolist()) == list(range(10, MOST + 10))

    def test_rows_see_what_is_known_by_their_turn_and_no_more(self) -> None:
        user, cluster, taken, time_ms = events(3, 200, 60.0)
        due = np.minimum(np.arange(200), np.arange(200) // 3 * 3)
        whole = History(5).walk(Outcomes(user, cluster, taken, time_ms), due, user, time_ms)
        for row in (0, 5, 60, 199):
            before = fed(History(5), (user, cluster, taken, time_ms), 0, due[row])
            alone = before.look(user[row : row + 1], time_ms[row : row + 1])
            for name in Past._fields:
                assert getattr(whole, name)[row : row + 1].tolist() == getattr(alone, name).tolist()

    def test_who_is_forgotten_leaves_nothing_and_the_others_stay(self) -> None:
        columns, now_ms = events(4, 300, 30.0), 40 * DAY_MS
        history = fed(History(5), columns)
        before = history.look(np.arange(7), np.full(7, now_ms))
        history.forget(np.array([1, 4, 99]))
        after = history.look(np.arange(7), np.full(7, now_ms))
        stay = np.array([0, 2, 3, 5, 6])
        for name in Past._fields:
            assert getattr(before, name)[stay].tolist() == getattr(after, name)[stay].tolist()
        assert (after.cluster_BM[[1, 4]] == -1).all()
        assert len(history.tree()["next_E"]) == int((before.cluster_BM[stay] >= 0).sum())

    def test_a_history_is_what_it_saved(self) -> None:
        columns = events(2, 200, 30.0)
        resumed = History(5)
        resumed.load(fed(History(5), columns, 0, 90).tree())
        assert digest(fed(resumed, columns, 90).tree()) == digest(fed(History(5), columns).tree())

    def test_a_persona_is_shrunk_from_everybody_to_the_code_to_the_subcode(self) -> None:
        accepts, exposures = np.array([8.0, 0.0, 0.0]), np.array([10.0, 10.0, 10.0])
        codes = np.array([[0, 0], [0, 1], [1, 0]])
        known = personas(accepts, exposures, codes, np.zeros(3, np.int64), (2, 2), 1)
        r0 = (8 + 2) / (30 + 25)
        r1 = (8 + 15 * r0) / (20 + 15)
        r2 = (8 + 15 * r1) / (10 + 15)
        assert known.of(np.array([[0, 0]]))[0, 0].tolist() == pytest.approx([r0, r1, r2])
        assert known.of(np.array([[1, 1]]))[0, 0, 2] == pytest.approx(15 * r0 / 25)


class TestGroups:
    @staticmethod
    def planted(seed: int) -> tuple[Doubles, Int64s]:
        rng = np.random.default_rng(seed)
        group = rng.integers(3, size=150)
        liked = rng.random((150, 30)) < np.where(np.arange(30) // 10 == group[:, None], 0.5, 0.03)
        return taste(liked.astype(np.float64)), group

    def test_users_with_the_same_taste_share_a_code(self) -> None:
        point, group = self.planted(0)
        code = encode(fitted(point, (3,), np.random.default_rng(0)), point)[:, 0]
        agree = sum(np.bincount(code[group == g]).max() for g in range(3))
        assert agree >= 0.97 * len(group)

    def test_a_second_level_explains_what_the_first_leaves(self) -> None:
        point, _ = self.planted(1)
        one, two = (fitted(point, sizes, np.random.default_rng(0)) for sizes in ((3,), (3, 4)))
        assert unexplained(two, point) < unexplained(one, point)

    def test_codes_keep_their_names_over_a_boundary(self) -> None:
        point, _ = self.planted(2)
        old = fitted(point, (4, 2), np.random.default_rng(0))
        moved = np.concatenate([point[5:], self.planted(3)[0][:5]])
        new = fitted(moved, (4, 2), np.random.default_rng(9), old)
        same = encode(old, point)[5:, 0] == encode(new, point)[5:, 0]
        assert same.mean() > 0.9

    def test_a_code_that_nobody_has_is_revived(self) -> None:
        point, _ = self.planted(4)
        old = fitted(point, (4,), np.random.default_rng(0))
        dead = (np.where(np.arange(4)[:, None] == 2, 9.0, old[0]),)
        new = fitted(point, (4,), np.random.default_rng(1), dead)
        assert (np.bincount(encode(dead, point)[:, 0], minlength=4) == 0).any()
        assert (np.bincount(encode(new, point)[:, 0], minlength=4) > 0).all()


class TestSlot:
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10_000), draws=st.integers(1, 12), size=st.integers(1, 40))
    def test_propensities_sum_to_one_and_stay_with_what_is_open(
        self, seed: int, draws: int, size: int
    ) -> None:
        rng = np.random.default_rng(seed)
        share = rng.random((3, size)) ** 4 * (rng.random((3, size)) < 0.7)
        share[:, 0] += 0.1
        share /= share.sum(1, keepdims=True)
        relevance = rng.integers(4, size=(3, size)) / 4.0
        p = best_of(share, relevance, draws)
        assert p.sum(1) == pytest.approx(np.ones(3), abs=1e-12)
        assert (p >= 0.0).all()
        assert (p[share == 0.0] == 0.0).all()
        if draws == 1:
            assert p == pytest.approx(share, abs=1e-12)

    def test_the_closed_form_agrees_with_draws(self) -> None:
        rng = np.random.default_rng(5)
        share = rng.dirichlet(np.ones(12))[None]
        relevance = rng.random((1, 12))
        simulated = rng.choice(12, (100_000, 3), p=share[0])
        best = simulated[np.arange(100_000), relevance[0][simulated].argmax(1)]
        found = np.bincount(best, minlength=12) / 100_000
        p = best_of(share, relevance, 3)[0]
        assert np.abs(found - p).max() < 4.5 * np.sqrt(p.max() / 100_000)

    def test_what_is_shown_is_drawn_from_the_propensities_themselves(self) -> None:
        p = np.tile([0.0, 0.5, 0.2, 0.3], (50_000, 1))
        cluster, propensity = drawn(p, np.random.default_rng(0).random(50_000))
        assert np.bincount(cluster, minlength=4) / 50_000 == pytest.approx(p[0], abs=0.01)
        assert (propensity == p[0][cluster]).all()

    def test_every_policy_is_a_distribution_over_what_is_open(self, begun: Simulation) -> None:
        asked = begun.system.slates.all().asked
        policies: list[Policy] = [
            *(Epsilon(), Greedy(), Thompson(np.random.default_rng(0))),
            BestOf(begun.system.version.novelty, 3, 0.1),
        ]
        for policy in policies:
            p = policy.propensities(asked)
            assert p.sum(1) == pytest.approx(np.ones(len(p)), abs=1e-9)
            assert (p[~asked.open_BC] == 0.0).all()

    def test_nothing_open_is_refused(self) -> None:
        with pytest.raises(InputError, match="nothing is open"):
            drawn(np.zeros((1, 3)), np.zeros(1))

    def test_where_nothing_is_open_nothing_has_a_probability(self, begun: Simulation) -> None:
        asked = begun.system.slates.all().take(slice(0, 2)).asked
        shut = Asked(asked.inputs, asked.relevance_BC, np.zeros_like(asked.open_BC))
        for policy in (Epsilon(), Greedy(), BestOf(begun.system.version.novelty, 3, 0.1)):
            assert not policy.propensities(shut).any()


class TestLessons:
    def test_pairs_prefer_what_was_accepted(self, begun: Simulation) -> None:
        slates, system = begun.system.slates.all(), begun.system
        lessons = pairs(slates, system.since_ms, system.version.novelty, np.random.default_rng(0))
        taken = lessons.anchor_P > 0.0
        assert taken.any()
        assert (lessons.prefer_P[lessons.better_P == lessons.worse_P] == 0.0).all()
        row = np.arange(lessons.size)
        assert lessons.open_PC[row, lessons.better_P].all()
        assert lessons.open_PC[row, lessons.worse_P].all()

    def test_they_are_as_they_were_scored(self, begun: Simulation) -> None:
        """Codes, too: one made now would know what its user has accepted since."""
        slates = begun.system.slates.all()
        lessons = accepted(slates)
        row = np.flatnonzero((slates.accepted_BS & slates.novel_BS).any(1))
        assert set(map(bytes, lessons.inputs.feature_BCF)) == set(map(bytes, slates.inputs.feature_BCF[row]))

    def test_nobody_who_is_held_back_is_in_them(self, begun: Simulation) -> None:
        system = begun.system
        assert not system.held_back(system.slates.all().user_B).any()
        assert system.held_back(system.held.all().user_B).all()
        share = system.held_back(np.arange(20_000)).mean()
        assert share == pytest.approx(SETTINGS.hold_back, abs=0.02)

    @pytest.mark.parametrize("by", ["dpo", "sft"])
    def test_tuning_moves_novelty_to_what_was_accepted_and_leaves_the_old_one(
        self, begun: Simulation, by: str
    ) -> None:
        slates, old = begun.system.slates.all(), CompactNovelty(24, (4, 2), 0)
        lessons = pairs(slates, 0, old, np.random.default_rng(0))
        before = digest(old.tree())
        tuning = msgspec.convert({"by": by, "epochs": 3}, Tuning)
        new = old.tuned(lessons, tuning, 0)
        assert digest(old.tree()) == before
        liked = accepted(slates)
        row = np.arange(liked.size)
        gained_A = [n.log_p(liked.inputs, liked.open_PC)[row, liked.better_P] for n in (old, new)]
        assert (gained_A[1] - gained_A[0]).mean() > 0.03
        assert digest(old.tuned(lessons, tuning, 0).tree()) == digest(new.tree())


class TestGate:
    def test_snips_of_the_logging_policy_is_its_own_acceptance(self, begun: Simulation) -> None:
        held = begun.system.held.all()
        events = held.take(held.time_ms_B >= begun.system.since_ms)
        p = chances(begun.system.policy(), events)
        assert p == pytest.approx(events.propensity_B, rel=1e-5)
        shown = Shown(events.accepted_BS[:, -1].astype(np.float64), events.propensity_B, events.user_B)
        found = snips(shown.reward_E, weights(shown, p))
        assert found.value == pytest.approx(mean(shown.reward_E).value, rel=1e-5)

    def test_what_is_unchanged_is_promoted(self, begun: Simulation) -> None:
        events = begun.system.held.all()
        p = chances(begun.system.policy(), events)
        verdict = judge(p, p, events, least=events.size)
        assert verdict.promoted
        assert verdict.difference is not None
        assert verdict.difference.value == 0.0

    def test_too_few_events_are_refused_with_their_number(self, begun: Simulation) -> None:
        events = begun.system.held.all().take(slice(0, 40))
        p = chances(begun.system.policy(), events)
        verdict = judge(p, p, events)
        assert not verdict.promoted
        assert verdict.reason == "40 explored events of held-back users, 1,000 are needed"

    def test_what_avoids_the_accepted_is_refused(self, begun: Simulation) -> None:
        events = begun.system.held.all()
        p = chances(begun.system.policy(), events)
        worse = np.where(events.accepted_BS[:, -1], 0.2, 1.0) * p
        verdict = judge(p, worse, events, least=1)
        assert not verdict.promoted
        assert "is below" in verdict.reason

    def test_events_that_show_little_of_the_new_version_are_refused_with_what_they_are_worth(
        self, begun: Simulation
    ) -> None:
        events = begun.system.held.all()
        p = chances(begun.system.policy(), events)
        few = np.where(np.cumsum(events.accepted_BS[:, -1]) <= 2, p, 1e-9) * events.accepted_BS[:, -1]
        verdict = judge(p, few, events, least=40)
        assert verdict.after is not None
        assert verdict.before is not None
        assert verdict.after.value > verdict.before.value
        assert not verdict.promoted
        assert verdict.reason.endswith("are worth 2 of the new version, 10 are needed")


class TestCycle:
    @pytest.mark.parametrize("after", range(len(STEPS)))
    def test_a_cycle_that_is_cut_off_changes_nothing_and_begun_anew_ends_the_same(
        self, begun: Simulation, after: int
    ) -> None:
        whole, cut = twin(begun.system), twin(begun.system)
        record = whole.adopt(whole.cycle_at(begun.now_ms).run())
        before = digest(cut.tree())
        steps = cut.cycle_at(begun.now_ms).steps()
        assert STEPS[after] in steps
        steps.close()
        assert digest(cut.tree()) == before
        resumed = twin(cut)
        assert resumed.adopt(resumed.cycle_at(begun.now_ms).run()) == record
        assert digest(resumed.tree()) == digest(whole.tree())

    def test_a_record_says_what_moved_and_why(self, begun: Simulation) -> None:
        system = twin(begun.system)
        system.begin(begun.now_ms)
        record = system.end()
        assert record.number == 1
        assert record.lessons > 50
        assert record.divergence > 0.0
        assert 0.0 <= record.codes_changed <= 1.0
        assert record.verdict.events == len(system.held)
        assert record.to_version == (2 if record.verdict.promoted else 1)
        assert [one.number for one in system.records] == [0, 1]
        assert system.learned == 0

    def test_a_refused_cycle_leaves_the_old_version(self, begun: Simulation) -> None:
        strict = msgspec.structs.replace(SETTINGS, least_events=10_000)
        system = CoEvolution(24, strict, WORLD.seed)
        system.load(begun.system.tree())
        before = digest(system.version.novelty.tree())
        record = system.adopt(system.cycle_at(begun.now_ms).run())
        assert not record.verdict.promoted
        assert "10,000 are needed" in record.verdict.reason
        assert system.serving == 1
        assert digest(system.version.novelty.tree()) == before

    def test_a_promoted_version_can_be_rolled_back_and_its_number_is_not_given_again(
        self, begun: Simulation
    ) -> None:
        system = twin(begun.system)
        first = digest(system.version.novelty.tree())
        cycle = system.cycle_at(begun.now_ms).run()
        cycle.record = msgspec.structs.replace(
            cycle.record, verdict=msgspec.structs.replace(cycle.record.verdict, promoted=True)
        )
        cycle.version = cycle.version._replace(number=2)
        system.adopt(cycle)
        assert system.serving == 2
        system.begin(begun.now_ms)
        assert system.roll_back() == 1
        assert system.running is None, "what was tuned from a version that is withdrawn is, too"
        assert [version.number for version in system.versions] == [0, 1]
        assert digest(twin(system).version.novelty.tree()) == first
        again = twin(system).cycle_at(begun.now_ms).run()
        assert again.record.to_version in (1, 3), "a number is not given twice"
        with pytest.raises(InputError, match="version 1 serves"):
            system.roll_back()

    def test_there_is_nothing_to_roll_back_to_at_first(self, begun: Simulation) -> None:
        with pytest.raises(InputError, match="none before it is kept"):
            twin(begun.system).roll_back()

    def test_a_system_without_slates_says_so(self) -> None:
        with pytest.raises(InputError, match="found none"):
            CoEvolution(5, SETTINGS).start(0)


class TestKept:
    def test_the_newest_are_kept_however_they_come(self, begun: Simulation) -> None:
        slates = begun.system.slates.all()
        kept, each = Kept(100), Kept(100)
        for start in range(0, slates.size, 33):
            kept.add(slates.take(slice(start, start + 33)))
        for row in range(slates.size):
            each.add(slates.take(slice(row, row + 1)))
        assert digest(kept.tree()) == digest(each.tree())
        assert kept.all().user_B.tolist() == slates.user_B[-100:].tolist()
