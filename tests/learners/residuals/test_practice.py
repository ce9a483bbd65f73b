"""What a user has practised: by its definition, fading as the root of the lag, and bounded."""

import numpy as np
import pytest

from learners.residuals.practice import RATE_J, WEIGHT_J, Practice, PracticePart
from tests.learners.parts import USERS, Drive, Log


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 20, 100, 1000, 3000])
def test_it_fades_as_the_root_of_the_lag(lag: int) -> None:
    assert (WEIGHT_J * np.exp(-RATE_J * lag)).sum() == pytest.approx(lag**-0.5, rel=0.02)


@pytest.mark.parametrize("delay", [0, 13])
@pytest.mark.parametrize("fades", [True, False])
def test_inputs_are_sums_over_the_users_own_answers(delay: int, fades: bool) -> None:
    log = Log(300, delay=delay)
    made_BF = Drive(PracticePart(Practice(fades=fades)), log).run(0, 300, 17)
    for b in range(300):
        mine = [q for q in range(log.due[b]) if log.user[q] == log.user[b] and not np.isnan(log.label[q])]
        faded = [(WEIGHT_J * np.exp(-RATE_J * (len(mine) - k))).sum() for k in range(len(mine))]
        faded = faded if fades else [1.0] * len(mine)
        of = [k for k, q in enumerate(mine) if log.category[q] == log.category[b]]
        right, wrong = (sum(faded[k] for k in of if log.label[mine[k]] == answer) for answer in (1.0, 0.0))
        share = (right + 1) / (right + wrong + 2) - 0.5 if of else 0.0
        assert made_BF[b, :3] == pytest.approx([np.log1p(right), np.log1p(wrong), share], abs=1e-9)


def test_a_category_has_slopes_of_its_own() -> None:
    """In one, whoever was right is right again; in the others outcomes are coins."""
    rng = np.random.default_rng(0)
    log = Log(4000, delay=0)
    able = rng.random(USERS) < 0.5
    log.label = np.where(log.category == 2, able[log.user], rng.random(4000) < 0.5).astype(np.float64)
    log.logit[:] = 0.0
    log.residual = log.label - 0.5
    made_BF = Drive(PracticePart(Practice()), log).run(0, 4000, 64)
    late_B = np.arange(4000) > 3000
    said = [np.abs(made_BF[late_B & (log.category == c), 3]).mean() for c in range(5)]
    assert said[2] > 1.0 > 4 * max(said[:2] + said[3:])


def test_who_leaves_is_forgotten_with_all_pairs() -> None:
    log = Log(300)
    drive = Drive(PracticePart(Practice()), log)
    drive.run(0, 300, 17)
    part = drive.part
    assert isinstance(part, PracticePart)
    kept = np.array([1, 4])
    before = part.answers_PJ2[[part.pairs.row((4 << 32) | c) for c in range(len(part.categories))]]
    part.keep(kept, np.arange(3))
    assert len(part.pairs) == 2 * len(part.categories) == len(part.answers_PJ2)
    after = part.answers_PJ2[[part.pairs.row((1 << 32) | c) for c in range(len(part.categories))]]
    np.testing.assert_array_equal(after, before)
    part.keep(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert (len(part.pairs), len(part.categories), len(part.mean_C3)) == (0, 0, 0)
