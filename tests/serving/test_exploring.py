"""The explore slot: what is shown is drawn with the probability that is said, and events bring it back."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ebbtide
from ebbtide.live.posted import of_body
from serving.answers import Explored
from serving.exploring import clusters_of, filled, probabilities, query, tried_of, with_tried
from serving.run import Run
from state.arrays import Doubles, Int64s
from state.ids import key_of
from state.store.embedded import open_store
from streams.wire.decode import decode

CLUSTERS = 5


def items() -> tuple[Int64s, Doubles]:
    """Clusters and scores of ten items, two a cluster, the second the better one."""
    vectors = np.zeros((10, CLUSTERS + 1), np.float32)
    vectors[np.arange(10), np.arange(10) // 2] = 1.0
    return clusters_of(vectors), np.arange(10.0)


class TestSlot:
    def test_clusters_come_as_often_as_is_said_and_by_their_best_item(self) -> None:
        clusters, score = items()
        p = np.array([0.1, 0.5, 0.2, 0.2, 0.0, 0.0])
        chance, seen, said = np.random.default_rng(0), Counter[int](), {}
        for _ in range(20_000):
            [one] = filled([9, 8], score, clusters, p, 0.5, chance)
            seen[one.row] += 1
            said[one.row] = one.propensity
        assert said == pytest.approx({1: 0.1, 3: 0.5, 5: 0.2, 7: 0.2})
        for row, propensity in said.items():
            assert seen[row] / 20_000 == pytest.approx(propensity, abs=0.015)

    def test_what_is_in_the_list_or_has_nothing_to_offer_leaves_its_share_to_the_others(self) -> None:
        clusters, score = items()
        score[[2, 3]] = -np.inf
        p = np.array([0.1, 0.5, 0.2, 0.2, 0.0, 0.0])
        said = {
            one.row: one.propensity
            for seed in range(200)
            for one in filled([7, 9, 8], score, clusters, p, 1 / 3, np.random.default_rng(seed))
        }
        assert said == pytest.approx({1: 1 / 3, 5: 2 / 3})

    @pytest.mark.parametrize(("rows", "share", "mean"), [(10, 0.1, 1.0), (5, 0.1, 0.5), (4, 0.0, 0.0)])
    def test_so_many_places_are_explored_on_average(self, rows: int, share: float, mean: float) -> None:
        clusters = np.arange(40) // 2
        p = np.append(np.full(20, 0.05), 0.0)
        chance = np.random.default_rng(1)
        many = [len(filled(list(range(rows)), np.zeros(40), clusters, p, share, chance)) for _ in range(400)]
        assert np.mean(many) == pytest.approx(mean, abs=0.1)

    def test_where_nothing_is_new_nothing_is_explored(self) -> None:
        clusters, score = items()
        assert filled([9], score, clusters, np.zeros(6), 1.0, np.random.default_rng(0)) == []

    def test_items_are_ranked_by_all_interests_but_that(self) -> None:
        vectors = np.array([[1.0, 2.0], [5.0, 5.0]], np.float32)
        assert query(("next", "explore"), vectors).tolist() == [1.0, 2.0]
        assert query((), vectors).tolist() == [6.0, 7.0]


class TestVersions:
    @pytest.mark.parametrize(("versions", "explores"), [((1, 2), True), ((1,), False), ((), False)])
    def test_what_a_version_that_was_withdrawn_says_of_a_user_is_not_explored(
        self, versions: tuple[int, ...], explores: bool
    ) -> None:
        vectors = np.array([[1.0, 2.0, 1.0], [0.25, 0.75, 2.0]], np.float32)
        said = probabilities(("next", "explore"), vectors, versions)
        assert (said is not None) == explores
        assert probabilities(("next",), vectors[:1], versions) is None


class TestIdentifier:
    def test_an_id_knows_what_was_explored_and_others_know_nothing(self) -> None:
        made = with_tried("b.12ab", [("shoe 7", 0.25), ("42", 1.0)])
        assert len(made) <= 256
        assert tried_of(made) == {key_of("shoe 7"): 0.25, key_of(42): 1.0}
        assert with_tried("12ab", []) == "12ab"
        assert tried_of("12ab") is None
        assert tried_of("12ab~no!") is None
        assert tried_of("12ab~AAAA") is None


class TestEvents:
    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({"item": "new"}, ("explore", 0.25)),
            ({"item": "usual"}, ("list", None)),
            ({"item": "new", "source": "mail", "propensity": 0.5}, ("mail", 0.5)),
        ],
    )
    def test_an_event_with_the_id_carries_source_and_propensity_over_the_wire(
        self, event: dict[str, object], expected: tuple[str, float | None]
    ) -> None:
        recommended = {"recommendation_id": with_tried("12ab", [("new", 0.25)])}
        body = {"user": "ann", "time": 1_700_000_000_000, "label": 1} | event | recommended
        [wired] = of_body(json.dumps(body).encode())
        read = decode([wired.message._replace(produced_ms=1_700_000_000_000)]).events
        source, propensity = expected
        assert read.source_B.tolist() == [key_of(source)]
        assert read.propensity_B.tolist() == [pytest.approx(propensity or np.nan, nan_ok=True)]


def test_a_run_that_explores_recommends_something_new_and_says_how_likely_it_was(tmp_path: Path) -> None:
    settings = tmp_path / "coea.toml"
    settings.write_text(
        'learner = "coea"\nfloors = false\n[learners.coea]\nexplore = true\nmost_clusters = 16\n'
    )
    ebbtide.replay("planted:users=20,items=60,events=1500", tmp_path / "run", settings, rank_share=0.05)
    with Run(open_store(tmp_path / "run"), chance=np.random.default_rng(0)) as run:
        answers = [run.recommend(f"u{user}", 10) for user in range(20)]
    explored = [one for answer in answers for one in answer.items if isinstance(one, Explored)]
    assert explored
    for answer in answers:
        assert not any(isinstance(one, Explored) for one in answer.items[:-1])
        assert len({one.item for one in answer.items}) == len(answer.items)
    assert all(one.source == "explore" and 0.0 < one.propensity <= 1.0 for one in explored)
