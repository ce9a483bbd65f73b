"""CoEA as a learner: clusters, group identity, cycles along a stream, and that all is the same however the
stream is cut."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch

from learners.checks.bench import context_of
from learners.coevolution.clusters import Clusters
from learners.coevolution.course import EXPLORED
from learners.coevolution.cycle import CycleSettings
from learners.coevolution.history import novel_of
from learners.coevolution.record import Record
from learners.coevolution.slot import OPTIMISM
from learners.contract import Context
from learners.systems.coea import CoEA, CoEASettings
from learners.tables.catalogue import Catalogue
from learners.tables.leaveout import Had
from learners.training.trainer import Trainer
from state.errors import InputError
from state.examples import ExampleBatch, empty_examples
from state.keys import Names, key_of
from state.side import Categories, SideTable
from state.tree import digest

SETTINGS = CoEASettings(
    most_clusters=8,
    codes=(2, 2),
    width=4,
    explore=True,
    cycle=CycleSettings(every=256, keep_slates=128, keep_held=64, least_events=20),
    lag=128,
)
DAY_MS = 86_400_000


class Run:
    """A trainer of one CoEA over examples that were made."""

    def __init__(self, settings: CoEASettings = SETTINGS, *, labelled: bool = True) -> None:
        self.catalogue = Catalogue()
        self.learner = CoEA(settings, context_of(labelled, self.catalogue))
        self.trainer = Trainer({"coea": self.learner}, self.catalogue, Had("none"))

    @property
    def records(self) -> list[Record]:
        """Of its cycles, without what they cost."""
        return self.learner.course.system.records

    def run(self, rows: ExampleBatch, cuts: list[int]) -> "Run":
        for start, stop in pairwise(cuts):
            self.trainer.step(rows.take(slice(start, stop)))
        return self


def visits(count: int, *, explored: float = 0.0, seed: int = 0) -> ExampleBatch:
    """Two groups of users, each with categories of its own that it likes; some visits are explored."""
    rng = np.random.default_rng(seed)
    rows = empty_examples(count)
    user, category = rng.integers(0, 40, count), rng.integers(1, 7, count)
    likes = (category % 2) == (user % 2)
    taken = rng.random(count) < np.where(likes, 0.8, 0.1)
    shown = rng.random(count) < explored
    values = {
        "offset_B": np.arange(count),
        "user_B": user,
        "item_B": category * 10 + rng.integers(0, 3, count),
        "category_B": category,
        "time_ms_B": 1_500_000_000_000 + np.cumsum(rng.integers(1, 60, count)) * 60_000,
        "label_B": taken.astype(np.float32),
        "source_B": np.where(shown, EXPLORED, key_of("list")),
        "propensity_B": np.where(shown, 0.2, np.nan).astype(np.float32),
    }
    for name, value in values.items():
        getattr(rows, name)[:] = value
    rows.known_ms_B[:] = rows.time_ms_B
    return rows


def test_sums_are_taken_by_one_thread_on_any_machine(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: torch.set_num_threads(1))
    torch.set_num_threads(2)
    Run()
    assert torch.get_num_threads() == 1


class TestStream:
    @pytest.mark.parametrize("explored", [0.0, 0.3])
    def test_micro_batches_of_any_size_give_the_same_answers_and_the_same_cycles(
        self, explored: float
    ) -> None:
        rows = visits(900, explored=explored)
        whole = Run().run(rows, [*range(0, 900, 150), 900])
        cut = Run().run(rows, [*range(0, 900, 37), 900])
        assert digest(whole.learner.tree()) == digest(cut.learner.tree())
        assert whole.records == cut.records
        assert len(whole.learner.cycle_records) >= 2

    @pytest.mark.parametrize("killed", [300, 350, 420])
    def test_a_run_that_is_killed_in_a_cycle_makes_the_same_cycle(self, killed: int) -> None:
        rows = visits(900, explored=0.3)
        whole, begun, resumed = (Run() for _ in range(3))
        whole.run(rows, [0, 300, 350, 420, 600, 900])
        begun.run(rows, [at for at in (0, 300, 350, 420) if at <= killed])
        assert begun.learner.course.system.running is not None or killed > 400
        resumed.trainer.load(begun.trainer.tree())
        resumed.run(rows, [at for at in (300, 350, 420, 600, 900) if at >= killed])
        assert resumed.records == whole.records
        assert digest(resumed.trainer.tree()) == digest(whole.trainer.tree())

    def test_one_that_is_asked_for_begins_with_the_next_block_and_serves_after_the_lag(self) -> None:
        rows, settings = visits(600), CycleSettings(every=100_000, keep_slates=128)
        run = Run(CoEASettings(most_clusters=8, codes=(2, 2), cycle=settings, lag=128)).run(rows, [0, 300])
        run.learner.begin_cycle()
        run.run(rows, [300, 330])
        assert run.learner.course.system.running is not None
        run.run(rows, [330, 600])
        assert [one.to_version for one in run.learner.cycle_records] == [1]


class TestCycles:
    def test_a_log_without_explored_events_trains_and_is_refused_with_the_number(self) -> None:
        run = Run().run(visits(1200), [0, 600, 1200])
        first, second = run.learner.cycle_records[:2]
        assert first.verdict.promoted
        assert not second.verdict.promoted
        assert second.verdict.reason == "0 explored events of held-back users, 20 are needed"
        assert second.lessons > 0
        assert second.divergence > 0.0

    def test_a_log_with_explored_events_is_judged_by_those_of_held_back_users(self) -> None:
        run = Run().run(visits(3000, explored=0.4), [*range(0, 3000, 500), 3000])
        judged = [one.verdict for one in run.learner.cycle_records if one.verdict.after is not None]
        assert judged
        assert all(20 <= one.events <= 64 for one in judged)

    def test_without_labels_novelty_learns_from_what_was_turned_to(self) -> None:
        rows = visits(1200)
        rows.label_B[:] = np.nan
        run = Run(labelled=False).run(rows, [0, 600, 1200])
        assert len(run.learner.cycle_records) >= 2

    def test_the_first_version_has_none_before_it_to_be_rolled_back_to(self) -> None:
        run = Run().run(visits(600), [0, 600])
        with pytest.raises(InputError, match=r"^version 1 serves"):
            run.learner.roll_back()


class TestGroupIdentity:
    def test_what_a_group_likes_is_foretold_of_a_user_who_has_hardly_been_there(self) -> None:
        rows = visits(3000)
        run = Run().run(rows, [*range(0, 3000, 100), 3000])
        odd = rows.take(np.flatnonzero(rows.user_B % 2 == 1)[-1:])
        log_C = run.learner._log_p(run.learner.course.look(odd.user_B, odd.time_ms_B))[0]
        by_category = {
            int(key): log_C[1 + n] for n, key in enumerate(run.learner.clusters.index.keys[:6].tolist())
        }
        liked = np.logaddexp.reduce([by_category[c] for c in (1, 3, 5)])
        assert np.exp(liked) > 0.7
        assert np.exp(np.logaddexp.reduce(log_C[:8])) == pytest.approx(1.0, abs=1e-5)


class TestPublished:
    def test_the_published_product_ranks_as_the_learner_does(self) -> None:
        rows = visits(900)
        run = Run().run(rows, [0, 500, 900])
        keys_N = run.catalogue.items.keys[: len(run.catalogue)]
        last = rows.take(slice(890, 900))
        vectors_ND, interests_BKD = run.learner.item_vectors(keys_N), run.learner.interests(last)
        assert vectors_ND is not None
        assert interests_BKD is not None
        assert interests_BKD[:, 0] @ vectors_ND.T == pytest.approx(run.learner.rank(last), abs=1e-4)

    def test_where_it_explores_what_is_new_counts_more_in_the_list_too(self) -> None:
        rows, lists = visits(900), []
        for settings in (SETTINGS, msgspec.structs.replace(SETTINGS, explore=False)):
            run = Run(settings).run(rows, [0, 500, 900])
            last = rows.take(slice(899, 900))
            lists.append(run.learner.rank(last)[0])
            past = run.learner.course.look(last.user_B, last.time_ms_B)
            novel_C = novel_of(past, settings.most_clusters)[0]
        cluster_N = run.learner.clusters.of_catalogue()
        gained_N = np.where(novel_C[cluster_N] & (cluster_N > 0), np.log(OPTIMISM), 0.0)
        assert 0.0 < gained_N.mean() < np.log(OPTIMISM)
        assert lists[0] - lists[1] == pytest.approx(gained_N, abs=1e-4)

    def test_the_explore_row_is_a_distribution_over_what_is_new_to_the_user(self) -> None:
        run = Run().run(visits(900, explored=0.3), [0, 500, 900])
        nobody = visits(1)
        nobody.user_B[:] = 10**9
        nobody.time_ms_B[:] += 10 * DAY_MS
        interests_BKD = run.learner.interests(nobody)
        assert interests_BKD is not None
        p_D, version = interests_BKD[0, 1, :-1], interests_BKD[0, 1, -1]
        assert version == run.learner.course.system.serving
        assert version in run.learner.explores_by
        assert p_D.sum() == pytest.approx(1.0, abs=1e-6)
        assert p_D[[0, -1]].tolist() == [0.0, 0.0]
        assert (p_D[1:7] > 0.0).all()


class TestClusters:
    def test_a_combination_that_few_items_have_is_its_first_category(self) -> None:
        names = Names()
        drama, war, comedy = (names.add(genre) for genre in ("drama", "war", "comedy"))
        cells = [[drama, war]] * 5 + [[drama, comedy]] * 2 + [[]]
        table = SideTable(np.arange(8), np.zeros(8, np.int64), categories={"genre": Categories.of(cells)})
        clusters = Clusters(_context(table), "genre", 8)
        rows = empty_examples(8)
        rows.item_B[:] = np.arange(8)
        assert clusters.learn(rows).tolist() == [1] * 5 + [2] * 2 + [0]
        assert clusters.names(names) == ["other", "drama|war", "drama"]

    def test_one_whose_category_nobody_has_named_is_called_by_its_most_frequent_items(self) -> None:
        names, rows = Names(), empty_examples(9)
        tea, cup, mug = (names.add(item) for item in ("tea", "cup", "mug"))
        rows.category_B[:] = [names.add("drinks")] * 3 + [key_of("crockery")] * 6
        rows.item_B[:] = [tea] * 3 + [cup] * 4 + [mug] * 2
        rows.label_B[:], rows.time_ms_B[:] = 1.0, np.arange(9)
        run = Run().run(rows, [0, 9])
        found = {one.name: one.popular for one in run.learner.coevolution(names).clusters}
        assert found == {"other": [], "drinks": ["tea"], "like cup, mug": ["cup", "mug"]}

    def test_items_that_are_told_of_in_the_same_words_are_a_cluster_by_content(self) -> None:
        titles = [f"{'green tea' if n % 2 else 'coffee cup'} {n}" for n in range(60)] + [""]
        table = SideTable(np.arange(61), np.zeros(61, np.int64), texts={"title": titles})
        clusters = Clusters(_context(table), "content", 3)
        rows = empty_examples(62)
        rows.item_B[:] = np.arange(62)  # of the last but one nothing is told, of the last not even that
        found = clusters.learn(rows).tolist()
        assert found[60:] == [0, 0]
        assert {tuple(found[:60:2]), tuple(found[1:60:2])} == {(1,) * 30, (2,) * 30}
        assert clusters.names(Names()) == ["other", None, None]

    def test_categories_alone_are_content_too(self) -> None:
        kind = Categories.of([[n % 2] for n in range(60)])
        table = SideTable(np.arange(60), np.zeros(60, np.int64), categories={"kind": kind})
        clusters, rows = Clusters(_context(table), "content", 3), empty_examples(60)
        rows.item_B[:] = np.arange(60)
        assert clusters.learn(rows).tolist() == [1, 2] * 30

    def test_a_place_is_a_cluster_once_enough_happened_there(self) -> None:
        whole, cut = (Clusters(_context(None), "place", 8) for _ in range(2))
        rows = empty_examples(60)
        rows.lat_B[:], rows.lon_B[:] = 40.7052, np.where(np.arange(60) % 3 == 0, -74.0, -73.9)
        found = whole.learn(rows).tolist()
        parts = [cut.learn(rows.take(slice(at, at + 7))).tolist() for at in range(0, 60, 7)]
        assert found == [one for part in parts for one in part]
        assert found[:20] == [0] * 20
        assert set(found[-3:]) == {0, 1}
        assert str(whole.names(Names())[1]).startswith("40.70, -73.9")

    def test_a_log_with_nothing_to_group_by_is_refused_with_what_to_do(self) -> None:
        context = Context(labelled=True, roles=frozenset({"user"}), catalogue=Catalogue())
        with pytest.raises(InputError, match="--map category=COLUMN"):
            CoEA(CoEASettings(), context)

    def test_beyond_the_most_all_are_the_other_one(self) -> None:
        clusters = Clusters(_context(None), "category", 3)
        rows = empty_examples(4)
        rows.category_B[:] = [5, 6, 7, 5]
        assert clusters.learn(rows).tolist() == [1, 2, 0, 1]


def _context(items: SideTable | None) -> Context:
    roles = frozenset({"user", "item", "time", "category", "lat", "lon"})
    return Context(labelled=True, roles=roles, catalogue=Catalogue(), items=items)
