"""The floor: two smoothed rates and the base rate."""

import numpy as np
import pytest

from learners.contract import Settings
from learners.floors.rates import Rates
from state.errors import InputError
from state.examples import empty_examples
from tests.learners.labelled import Drive, auc, context, planted_log


def test_it_adds_the_deviations_of_user_and_item_in_log_odds() -> None:
    rows = empty_examples(1)
    rows.item_rates_BR[0, 13:15] = 98, 19
    rows.user_rates_BR[0, :2] = 10, 6
    rows.item_rates_BR[0, :2] = 5, 0
    base = 20 / 100
    user, item = (6 + 5 * base) / 15, (0 + 5 * base) / 10

    def logit(p: float) -> float:
        return float(np.log(p / (1 - p)))

    z = logit(base) + (logit(user) - logit(base)) + (logit(item) - logit(base))
    assert Rates(Settings(), context()).score(rows)[0] == pytest.approx(1 / (1 + np.exp(-z)))


def test_it_begins_with_even_odds() -> None:
    assert Rates(Settings(), context()).score(empty_examples(1)).tolist() == [0.5]


def test_it_keeps_nothing_and_beats_chance() -> None:
    log = planted_log(3000)
    positives = np.zeros(15)
    count = np.zeros(15)
    for b, user in enumerate(log.user_B):
        log.user_rates_BR[b, :2] = count[user], positives[user]
        count[user] += 1
        positives[user] += log.label_B[b]
    drive = Drive(Rates(Settings(), context())).run(log)
    assert auc(log.label_B[500:], np.array(drive.p[500:])) > 0.55
    assert drive.learner.tree() == {}


def test_a_log_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"'rates' learns P\(action\).*the log has no label"):
        Rates(Settings(), context(labelled=False))
