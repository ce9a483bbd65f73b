"""A variant beside the learner that it is of: the same events, differences paired by user."""

import numpy as np
import pytest

from learners.judging.evaluation import Compared, Evaluation
from learners.judging.judge import Events, Speaker, judge
from learners.judging.metrics import METRICS
from state.examples import Floats

SIZE, USERS = 2000, 50
MODEL = Speaker("model", predicts=True, ranks=True, floor=False)
VARIANT = Speaker("model: less", predicts=True, ranks=True, floor=False, of="model")
Said = tuple[Floats | None, np.ndarray | None]


def log(users: int = USERS) -> tuple[Events, Floats]:
    """Events and the log odds that made their labels."""
    random = np.random.default_rng(5)
    logit = random.normal(0, 1.5, SIZE)
    events = Events(
        time_ms_E=1000 * np.arange(SIZE),
        user_E=random.integers(0, users, SIZE).astype(np.int32),
        users=users,
        label_E=(random.random(SIZE) < 1 / (1 + np.exp(-logit))).astype(np.float32),
        cold_user_E=np.zeros(SIZE, np.uint8),
        cold_item_E=np.zeros(SIZE, np.uint8),
    )
    return events, logit.astype(np.float32)


def sayings(logit: Floats, noise: float, depth: float, seed: int) -> Said:
    random = np.random.default_rng(seed)
    p_E = 1 / (1 + np.exp(-logit - random.normal(0, noise, SIZE)))
    return p_E.astype(np.float32), random.geometric(1 / depth, SIZE).astype(np.int32)


def judged(events: Events, said: dict[str, Said], *others: Speaker) -> Evaluation:
    return judge(events, [MODEL, VARIANT, *others], lambda speaker: said[speaker.name], 0.5)


def compared(evaluation: Evaluation) -> Compared:
    return evaluation.compared[0]


def test_a_variant_that_says_the_same_differs_by_nothing() -> None:
    events, logit = log()
    same = sayings(logit, 0.3, 8.0, 1)
    found = compared(judged(events, {"model": same, VARIANT.name: same}))
    assert (found.name, found.of, found.events) == ("model: less", "model", SIZE // 2)
    assert {one.metric for one in found.differences} == set(METRICS)
    for one in found.differences:
        assert one.difference == 0.0
        if one.metric != "calibration_error":
            assert one.low == one.high == 0.0


def test_differences_are_those_that_a_floor_would_have_with_the_sign_turned() -> None:
    """The same sayings once as a variant and once as a floor: minus the model's interval against it."""
    events, logit = log()
    floor = Speaker("floor", predicts=True, ranks=True, floor=True)
    worse = sayings(logit, 1.5, 40.0, 2)
    said = {"model": sayings(logit, 0.3, 8.0, 1), VARIANT.name: worse, "floor": worse}
    evaluation = judged(events, said, floor)
    model = next(one for one in evaluation.learners if one.name == "model")
    assert [one.name for one in evaluation.learners] == ["model", "floor"]
    for metric in ("auc", "log_loss", "recall@10", "ndcg@10"):
        against, one = model.interval("floor", metric), compared(evaluation).difference(metric)
        assert against is not None
        assert one is not None
        assert one.low is not None
        assert one.difference == pytest.approx(-against.difference)
        assert one.low == pytest.approx(-against.high, abs=1e-12)


def test_variants_are_no_learners_of_the_run() -> None:
    events, logit = log()
    said = {"model": sayings(logit, 0.3, 8.0, 1), VARIANT.name: sayings(logit, 0.1, 2.0, 2)}
    evaluation = judge(events, [VARIANT, MODEL], lambda speaker: said[speaker.name], 0.5)
    assert (evaluation.predictor, evaluation.ranker) == ("model", "model")
    assert [one.name for one in evaluation.learners] == ["model"]


def test_only_events_at_which_the_variant_spoke_are_compared() -> None:
    events, logit = log()
    p_E, rank_E = sayings(logit, 0.3, 8.0, 1)
    assert p_E is not None
    assert rank_E is not None
    silent_E = np.arange(SIZE) % 3 == 0
    less: Said = (np.where(silent_E, np.float32(np.nan), p_E), np.where(silent_E, 0, rank_E).astype(np.int32))
    found = compared(judged(events, {"model": (p_E, rank_E), VARIANT.name: less}))
    assert found.events == int((~silent_E[SIZE // 2 :]).sum())
    assert {one.difference for one in found.differences} == {0.0}
    auc = found.difference("auc")
    whole = compared(judged(events, {"model": (p_E, rank_E), VARIANT.name: (p_E, rank_E)})).difference("auc")
    assert auc is not None
    assert whole is not None
    assert auc.value != whole.value


def test_a_variant_that_never_spoke_has_no_figures() -> None:
    events, logit = log()
    nothing: Said = (np.full(SIZE, np.nan, np.float32), np.zeros(SIZE, np.int32))
    found = compared(judged(events, {"model": sayings(logit, 0.3, 8.0, 1), VARIANT.name: nothing}))
    assert (found.events, found.differences) == (0, [])


def test_too_few_users_give_a_difference_without_an_interval() -> None:
    events, logit = log(users=10)
    said = {"model": sayings(logit, 0.3, 8.0, 1), VARIANT.name: sayings(logit, 1.5, 40.0, 2)}
    one = compared(judged(events, said)).difference("recall@10")
    assert one is not None
    assert one.difference < 0
    assert one.low is one.high is None
