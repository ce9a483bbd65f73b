"""A river model as a learner: what it is shown, when it learns, and what it cannot do."""

import numpy as np
import pytest
from river import linear_model

from learners.systems.river_ftrl import River, RiverLearner, built
from state.errors import InputError
from tests.learners.labelled import HOUR_MS, Drive, auc, context, first_step, full_context, planted_log

PERCEPTRON = {"class": "linear_model.Perceptron"}


def test_it_learns_what_was_planted() -> None:
    """Without crosses, which is how much the users like at all."""
    log = planted_log(2000, 1)
    drive = Drive(RiverLearner(River(), full_context())).run(log)
    assert auc(log.label_B[1000:], np.array(drive.p[1000:])) > 0.55


@pytest.mark.parametrize("delay_h", [0, 5])
def test_the_micro_batch_makes_no_difference(delay_h: int) -> None:
    log = planted_log(150, 2, delay_h * HOUR_MS)
    runs = [Drive(RiverLearner(River(), full_context())).run(log, size) for size in (1, 7, 150)]
    assert runs[0].p == runs[1].p == runs[2].p


def test_it_is_the_model_itself_in_the_same_order() -> None:
    log = planted_log(80)
    learner = RiverLearner(River(model={"class": "naive_bayes.BernoulliNB"}), context())
    drive = Drive(learner).run(log, 10)
    again = RiverLearner(River(), context())
    model = built({"class": "naive_bayes.BernoulliNB"})
    said = []
    for rows in drive.rows:
        for example, label in zip(again._scored(rows), rows.label_B, strict=True):
            said.append(min(max(model.predict_proba_one(example).get(True, 0.5), 1e-9), 1 - 1e-9))
            model.learn_one(example, bool(label > 0.5))
    assert drive.p == said


def test_categories_are_numbers_or_text() -> None:
    rows = planted_log(1)
    one_hot = next(RiverLearner(River(), full_context()).examples(rows))
    text = next(RiverLearner(River(one_hot=False), full_context()).examples(rows))
    user, item = int(rows.user_B[0]), int(rows.item_B[0])
    assert one_hot[f"user={user}"] == 1.0
    assert text["user"] == str(user)
    assert text["item.genre"] == f"{item % 3} {100 + item % 2}"


def test_parameters_may_be_models() -> None:
    model = built(
        {
            "class": "linear_model.LogisticRegression",
            "l2": 0.5,
            "optimizer": {"class": "optim.Adam", "lr": 0.25},
        }
    )
    assert isinstance(model, linear_model.LogisticRegression)
    assert (model.l2, model.optimizer.learning_rate) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, 'expected {"class": "module.Name"'),
        ({"class": "LogisticRegression"}, 'expected {"class": "module.Name"'),
        ({"class": "linear_model.Nonesuch"}, "expected a class of river, got 'linear_model.Nonesuch'"),
        ({"class": "nowhere.Model"}, "expected a class of river, got 'nowhere.Model'"),
        ({"class": "checks.check_estimator"}, "which is none"),
        (PERCEPTRON | {"speed": 3}, "does not take {'speed': 3}"),
        ({"class": "optim.SGD"}, "river-ftrl.model: expected a classifier of river, got SGD"),
    ],
)
def test_a_model_that_river_does_not_have_is_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        RiverLearner(River(model=spec), context())
    assert message in str(caught.value)


def test_it_cannot_be_saved_and_says_so() -> None:
    with pytest.raises(InputError, match="river model cannot be saved in a checkpoint; run it without"):
        RiverLearner(River(), context()).tree()
    with pytest.raises(InputError, match="cannot be saved"):
        RiverLearner(River(), context()).load({})


def test_score_shows_it_what_step_would() -> None:
    learner = Drive(RiverLearner(River(), full_context())).run(planted_log(100)).learner
    rows = planted_log(1, 9)
    p = learner.score(rows)
    assert learner.score(rows).tolist() == p.tolist()
    assert learner.step(first_step(rows)).p_B == p


def test_a_log_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"'river-ftrl' learns P\(action\)"):
        RiverLearner(River(), context(labelled=False))
