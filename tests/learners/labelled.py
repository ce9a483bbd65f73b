"""A planted log with labels, side tables and every role, and the trainer driving one learner over it."""

import numpy as np

from learners.contract import NO_RANKS, Context, Learner, Step
from learners.tables.catalogue import Catalogue
from learners.tables.leaveout import Had
from learners.training.trainer import Scored, Trainer
from state.examples import USER_RATES, Doubles, ExampleBatch, Floats, empty_examples
from state.keys import Int64s
from state.side import ALWAYS, Categories, SideTable

HOUR_MS = 3_600_000
USERS, ITEMS = 15, 24
ROLES = frozenset({"user", "item", "time", "label", "category", "scene"})


def planted_log(size: int, seed: int = 0, delay_ms: int = 0) -> ExampleBatch:
    """Each user likes the items of one genre (item % 3), and some users like more than others do."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, USERS, size), rng.integers(0, ITEMS, size)
    logit = np.where(user % 3 == item % 3, 2.0, -1.0) + (user % 5 - 2) * 0.5
    label = (rng.random(size) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    time_ms = 1_600_000_000_000 + np.cumsum(rng.integers(0, 3, size)) * 600_000
    columns = empty_examples(size).tree()
    columns |= {
        "offset_B": np.arange(size),
        "user_B": user,
        "item_B": item,
        "time_ms_B": time_ms,
        "known_ms_B": time_ms + delay_ms,
        "label_B": label,
        "category_B": item % 3,
        "scene_B": rng.integers(0, 2, size),
    }
    for r, name in enumerate(USER_RATES):
        span = (0, 3) if "positives" in name else (2, 9)
        columns["user_rates_BR"][:, r] = rng.integers(*span, size)
    return ExampleBatch.from_tree(columns)


def item_table(*, categories: bool = True, numbers: bool = True) -> SideTable:
    """Items with two genres each and a year."""
    id_N = np.arange(ITEMS)
    genres = Categories(np.arange(0, 2 * ITEMS + 1, 2), np.stack([id_N % 3, 100 + id_N % 2], 1).reshape(-1))
    return SideTable(
        id_N,
        np.full(ITEMS, ALWAYS),
        numbers={"year": (1990 + id_N).astype(np.float64)} if numbers else {},
        categories={"genre": genres} if categories else {},
    )


def user_table() -> SideTable:
    """Users, but for the last two, with a group and an age; one age is missing."""
    id_N = np.arange(USERS - 2)
    age: Doubles = (20 + id_N).astype(np.float64)
    age[3] = np.nan
    group = Categories(np.arange(len(id_N) + 1), id_N % 4)
    return SideTable(id_N, np.full(len(id_N), ALWAYS), numbers={"age": age}, categories={"group": group})


def context(items: SideTable | None = None, users: SideTable | None = None, **changes: object) -> Context:
    made: dict[str, object] = {"labelled": True, "roles": ROLES, "catalogue": Catalogue()}
    return Context(**made | {"items": items, "users": users} | changes)  # type: ignore[arg-type]


def full_context() -> Context:
    return context(item_table(), user_table())


class Drive:
    """The trainer with one learner."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.rows: list[ExampleBatch] = []
        self.p: list[float] = []
        self.trainer = Trainer(
            {"it": learner}, learner.context.catalogue, Had("none"), rank_share=0.0, listeners=(self._heard,)
        )

    def _heard(self, scored: Scored) -> None:
        p_B = scored.outcomes["it"].p_B
        assert p_B is not None
        self.rows.append(scored.batch)
        self.p.extend(p_B.tolist())

    def run(self, log: ExampleBatch, size: int = 64) -> "Drive":
        for start in range(0, len(log), size):
            rows: Int64s = np.arange(start, min(start + size, len(log)))
            self.trainer.step(log.take(rows))
        return self


def first_step(rows: ExampleBatch) -> Step:
    """Score `rows` while nothing is due."""
    return Step(rows, rows.take(slice(0, 0)), np.zeros(len(rows), np.int64), NO_RANKS)


def auc(label_B: Floats, p_B: Doubles) -> float:
    """P(a positive scores above a negative), ties half."""
    above = p_B[label_B > 0.5][:, None] - p_B[label_B <= 0.5][None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)
