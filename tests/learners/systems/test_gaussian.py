"""Gaussian rows: the compiled loop against a plain one, and what a learner of P(action) must keep."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.contract import Context
from learners.gaussian_rows.features import Template
from learners.gaussian_rows.kernels import standard
from learners.systems.gaussian import Gaussian, GaussianRows, Variances
from state.errors import InputError
from state.examples import ExampleBatch
from state.tree import digest
from tests.learners.labelled import (
    HOUR_MS,
    ROLES,
    Drive,
    auc,
    context,
    first_step,
    full_context,
    item_table,
    planted_log,
    user_table,
)

CONTEXTS: dict[str, Callable[[], Context]] = {
    "no side table": lambda: context(),
    "numbers only": lambda: context(item_table(categories=False)),
    "categories only": lambda: context(item_table(numbers=False)),
    "users only": lambda: context(None, user_table()),
    "both": full_context,
    "ids alone": lambda: context(roles=frozenset({"user", "item", "time", "label"})),
}


class Plain:
    """The same model with dictionaries, a feature at a time."""

    def __init__(self, like: GaussianRows) -> None:
        self.like, config = like, like.config
        assert isinstance(config, Gaussian)
        self.config = config
        self.weight: dict[tuple[object, ...], tuple[float, float]] = {}
        self.waiting: list[tuple[float, list[tuple[tuple[object, ...], str, float]]]] = []
        self.scale = np.zeros((len(like.features.numbers), 3))

    def prior(self, kind: str) -> float:
        return float(getattr(self.config.variance, kind))

    def features(self, row: ExampleBatch) -> tuple[float, list[tuple[tuple[object, ...], str, float]]]:
        fields = self.like.features.of(row)
        found = []

        def keys(f: int) -> list[int | None]:
            if f < 0:
                return [None]
            return list(fields.keys[fields.start_BF1[0, f] : fields.start_BF1[0, f + 1]].tolist())

        def worth(t: Template) -> float:
            if t.x < 0:
                return len(keys(t.a)) ** -0.5 if t.b < 0 and len(keys(t.a)) else 1.0
            value = fields.number_BX[0, t.x]
            return 0.0 if np.isnan(value) else standard(value, self.scale[t.x])

        for t in self.like.features.templates:
            if self.prior(t.kind) > 0:
                found += [((t.name, a, b), t.kind, worth(t)) for a in keys(t.a) for b in keys(t.b)]
        for x, value in enumerate(fields.number_BX[0]):
            if not np.isnan(value):
                count, mean, variance = self.scale[x]
                count = min(count + 1, 5000)
                new_mean = mean + (value - mean) / count
                variance += ((value - mean) * (value - new_mean) - variance) / count
                self.scale[x] = count, new_mean, variance
        return float(fields.offset_B[0]), [feature for feature in found if feature[-1] != 0.0]

    def moments(self, row: tuple[float, list[tuple[tuple[object, ...], str, float]]]) -> tuple[float, float]:
        offset, found = row
        weights = [self.weight.get(name, (0.0, self.prior(kind))) for name, kind, _ in found]
        worth = [x for *_, x in found]
        m = offset + sum(x * mean for x, (mean, _) in zip(worth, weights, strict=True))
        return m, sum(x * x * variance for x, (_, variance) in zip(worth, weights, strict=True))

    def score(self, row: ExampleBatch) -> float:
        self.waiting.append(self.features(row))
        m, s = self.moments(self.waiting[-1])
        return float(1 / (1 + np.exp(-m / np.sqrt(1 + np.pi / 8 * s))))

    def learn(self, y: float) -> None:
        row = self.waiting.pop(0)
        m, s = self.moments(row)
        q = 1 / (1 + np.exp(-m))
        p = 1 / (1 + np.exp(-m / np.sqrt(1 + np.pi / 8 * s)))
        d = 1 / (1 + q * (1 - q) * s)
        for name, kind, x in row[1]:
            mean, variance = self.weight.get(name, (0.0, self.prior(kind)))
            forget = self.config.forget
            if kind == "user":
                forget = self.config.forget_user
            elif "_" not in kind or kind in ("item_category", "item_number", "user_category", "user_number"):
                forget = self.config.forget_shared
            mean += variance * x * (y - p) * d
            variance -= variance**2 * x**2 * q * (1 - q) * d
            self.weight[name] = mean, min(self.prior(kind), variance + forget)


def gaussian(where: Context, **config: object) -> GaussianRows:
    return GaussianRows(Gaussian(**config), where)  # type: ignore[arg-type]


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    delay_h=st.sampled_from([0, 1, 30]),
    kind=st.sampled_from(sorted(CONTEXTS)),
)
def test_the_compiled_loop_is_the_plain_model(seed: int, delay_h: int, kind: str) -> None:
    log = planted_log(60, seed, delay_h * HOUR_MS)
    ours = Drive(gaussian(CONTEXTS[kind]())).run(log, 16)
    plain = Plain(gaussian(CONTEXTS[kind]()))
    rows = [row for batch in ours.rows for row in (batch.take(slice(i, i + 1)) for i in range(len(batch)))]
    learned = 0
    said = []
    for i, row in enumerate(rows):
        while learned < i and rows[learned].known_ms_B[0] <= row.time_ms_B[0]:
            plain.learn(float(rows[learned].label_B[0]))
            learned += 1
        said.append(plain.score(row))
    np.testing.assert_allclose(ours.p, said, rtol=1e-9)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(1, 9), st.integers(10, 256)),
    delay_h=st.sampled_from([0, 2, 1000]),
)
def test_the_micro_batch_makes_no_difference(seed: int, sizes: tuple[int, int], delay_h: int) -> None:
    log = planted_log(200, seed, delay_h * HOUR_MS)
    runs = [Drive(gaussian(full_context())).run(log, size) for size in (1, 7, 256, *sizes)]
    assert all(run.p == runs[0].p for run in runs)
    assert len({digest(run.learner.tree()) for run in runs}) == 1


def test_it_finds_what_was_planted_and_nothing_in_shuffled_labels() -> None:
    log = planted_log(4000, 1)
    drive = Drive(gaussian(full_context())).run(log)
    assert auc(log.label_B[2000:], np.array(drive.p[2000:])) > 0.78
    shuffled = replace(log, label_B=np.random.default_rng(0).permutation(log.label_B))
    drive = Drive(gaussian(full_context())).run(shuffled)
    assert abs(auc(shuffled.label_B, np.array(drive.p)) - 0.5) < 0.03


def test_score_is_what_step_says_and_changes_nothing() -> None:
    learner = Drive(gaussian(full_context())).run(planted_log(300)).learner
    before = digest(learner.tree())
    row = planted_log(1, 9)
    p = learner.score(row)
    assert digest(learner.tree()) == before
    assert learner.step(first_step(row)).p_B == p


def test_ids_it_has_never_seen_get_the_base_rate_and_little_more() -> None:
    learner = Drive(gaussian(full_context())).run(planted_log(300)).learner
    row = planted_log(1, 9)
    p = learner.score(replace(row, user_B=row.user_B + 10**6, item_B=row.item_B + 10**6))[0]
    assert 0.2 < p < 0.8


def test_what_waits_is_saved_with_the_weights() -> None:
    log = planted_log(400, 2, 20 * HOUR_MS)
    whole = Drive(gaussian(full_context())).run(log.take(slice(0, 250)), 32)
    other = Drive(gaussian(full_context()))
    other.trainer.load(whole.trainer.tree())
    rest = log.take(slice(250, 400))
    assert whole.run(rest, 32).p[250:] == other.run(rest, 11).p
    for run in (whole, other):
        run.trainer.finish()
    assert digest(whole.learner.tree()) == digest(other.learner.tree())
    assert len(whole.learner.tree()["waiting"]["offset_P"]) == 0


def test_rows_that_were_never_scored_are_learned_one_after_another() -> None:
    log = planted_log(150)
    scored = Drive(gaussian(context())).run(log)
    scored.trainer.finish()
    rows = [batch.take(slice(None)) for batch in scored.rows]
    taught = gaussian(context())
    for batch in rows:
        taught.learn(batch)
    assert digest(taught.tree()) == digest(scored.learner.tree())


def test_a_missing_outcome_teaches_nothing() -> None:
    log = planted_log(100)
    learner = gaussian(context())
    learner.learn(replace(log, label_B=np.full(100, np.nan, np.float32)))
    assert (learner.tree()["weights"]["weight_N3"][:, 0] == 0.0).all()


@pytest.mark.parametrize("delay_h", [0, 1])
def test_the_number_of_weights_is_bounded_whatever_the_micro_batch(delay_h: int) -> None:
    log = planted_log(1500, 3, delay_h * HOUR_MS)
    runs = [Drive(gaussian(full_context(), most_rows=1000)).run(log, size) for size in (1, 17, 1500)]
    learner = runs[0].learner
    assert isinstance(learner, GaussianRows)
    assert len(learner) <= 1000
    assert all(run.p == runs[0].p for run in runs)
    free = Drive(gaussian(full_context())).run(log)
    assert isinstance(free.learner, GaussianRows)
    assert len(free.learner) > 1300
    assert free.p != runs[0].p
    assert auc(log.label_B, np.array(runs[0].p)) > 0.65


def test_rows_that_wait_must_fit_into_the_bound() -> None:
    log = planted_log(600, 3, 10_000 * HOUR_MS)
    with pytest.raises(InputError, match=r"most_rows: expected room.*raise it or shorten the label delay"):
        Drive(gaussian(full_context(), most_rows=300)).run(log)


def test_a_log_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"'gaussian' learns P\(action\).*--label"):
        gaussian(context(labelled=False))


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match=r"gaussian\.variance: expected numbers of at least 0"):
        gaussian(context(), variance=Variances(item=-1.0))
    with pytest.raises(msgspec.ValidationError, match="unknown field `itm`"):
        msgspec.convert({"variance": {"itm": 1.0}}, Gaussian)


def test_every_kind_of_template_has_a_variance() -> None:
    kinds = {t.kind for t in gaussian(replace(full_context(), roles=ROLES | {"lat"})).features.templates}
    assert kinds == set(Variances.__struct_fields__)
