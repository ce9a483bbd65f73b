"""A query-based mixture of experts over the evidence of candidates, learned online.

STIM (arXiv:2508.02451) names a mixture of experts, activated by item, time and place queries under different
masks, with its load kept balanced; the equations are our reconstruction. With x the normalised evidence of
candidate c of row r:

    logit_c  = base_c + w . x + sum over experts e of gate_e h_e(x)
    h_e(x)   = v_e . relu(W_e x_e + b_e)                 x_e: the columns that expert e sees
    gate     = softmax over the row's open experts of (A context_r + B query_c + d)
    P(c)     = softmax of logit_c over the row's candidates

An expert is a view of the user's memory; it is open where the view holds evidence. A closed expert's gate is
exactly 0, a lone open one's exactly 1. At first v_e, w, A, B and d are 0, and the ranking is the base's.

The loss of a row is -log P(true) + balance x sum over open experts of load_e x mean gate_e, where load_e is
the share of candidates that gate most to e, relative to an even share, over recent rows with two or more
open experts: E sum f_e P_e of Fedus et al. (JMLR 2022) with f from the mini-batches before. Adam takes a
step every `batch` learned rows, counted over the stream, so that results do not depend on how rows are cut
into calls. What scores is a running mean of the weights after each update (Polyak & Juditsky, 1992, but the
newest count most). Where a hidden unit starts from depends on its expert and on the column alone, so that a
variant without a column is the same in all else.

Every column is normalised by the mean and deviation of its first `warmup` learned rows, as they come; it
is 0 until it has varied, and bounded by ten deviations.

Shape suffixes: as in `learners.mixing.layers`.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from learners.contract import Settings
from learners.mixing import forward, learning
from learners.mixing.layers import Bools, Plan
from learners.mixing.layers import Evidence as Evidence
from learners.mixing.update import Moments, Rates, State, Weights
from state.errors import InputError, bringing
from state.examples import Floats
from state.keys import Int64s
from state.tree import Tree

_START = 2
"""Draws that are passed over: which start a mixture has is worth up to .002 of NDCG@10, all through a log;
this one was chosen on Foursquare's first half."""


class Expert(NamedTuple):
    """A view's expert, and the evidence columns that it sees."""

    name: str
    columns: tuple[int, ...]


class MixtureSettings(Settings, frozen=True, kw_only=True):
    """`Mixture` raises InputError where one is out of range."""

    hidden: int = 10
    """Hidden units of each expert; 0 for the linear part alone."""
    lr: float = 4e-3
    """Adam's step."""
    batch: int = 32
    """Learned rows for each update."""
    weight_decay: float = 1e-3
    """Pull of each weight to zero, in steps of `lr`."""
    balance: float = 0.01
    """Weight of the load in the loss."""
    newest: float = 0.01
    """Share of the newest weights in the running mean that scores (1: they score alone)."""
    warmup: int = 4000
    """Learned rows from which a column's normalisation is taken."""
    device: str = "cpu"
    """'cpu': the compiled kernels. Any other, like 'cuda' or 'cpu:0': torch."""


class Mixture:
    """Scores candidates by their evidence. Scoring changes nothing.

    `features` and `context` are the widths F and X; `item_query` names the evidence columns in which the
    gate sees a candidate.
    """

    def __init__(
        self,
        settings: MixtureSettings,
        *,
        features: int,
        context: int,
        experts: Sequence[Expert],
        item_query: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        _check(settings)
        self.settings = settings
        self.experts = tuple(experts)
        self.features, self.context = features, context
        bias = features
        self._plan = Plan(
            linear_L=_filled(range(features), features),
            gate_L=_filled((*item_query, bias), features),
            hidden_EL=_stacked([_filled((*e.columns, bias), features) for e in self.experts], features),
            length_E=np.array([len(_filled((*e.columns, bias), features)) for e in self.experts], np.int64),
        )
        flat_4P, parts = _weights(self._plan, context, settings.hidden)
        weights = parts(flat_4P[0])
        for e, expert in enumerate(self.experts):
            inputs = len(expert.columns)
            rng = np.random.default_rng([seed, *expert.name.encode()])
            draws_FH = rng.standard_normal((_START + features, settings.hidden))[_START:][
                list(expert.columns)
            ]
            weights.hidden_EHL[e, :, :inputs] = draws_FH.T * np.sqrt(2.0 / max(inputs, 1))
        mean_P = flat_4P[0].copy()
        self._state = State(
            flat_4P,
            weights,
            parts(flat_4P[1]),
            mean_P,
            parts(mean_P),
            features=_moments(features),
            context=_moments(context),
            load_E=np.ones(len(self.experts)),
            routed_E=np.zeros(len(self.experts)),
            chosen_E=np.zeros(len(self.experts), np.int64),
            counts=np.zeros(2, np.int64),
        )
        self._rates = Rates(
            batch=settings.batch,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            balance=settings.balance,
            warmup=settings.warmup,
            newest=settings.newest,
        )

    @property
    def linear_F(self) -> Floats:
        """The linear weight of each column, by standard deviation."""
        return self._state.mean.linear_L[: self.features].copy()

    def score(self, evidence: Evidence) -> Floats:
        """The logit of every candidate (C,); a row's do not depend on the others."""
        return self.score_and_gates(evidence)[0]

    def score_and_gates(self, evidence: Evidence, asked_R: Bools | None = None) -> tuple[Floats, Floats]:
        """The logits (C,), and each expert's mean gate over a row's candidates, weighted by P: (R, E).

        Of rows that are not asked for, the logits are not filled in and the gates are 0.
        """
        if asked_R is None:
            asked_R = np.ones(len(evidence.true_R), np.bool_)
        self._assert(evidence)
        logit_C = np.empty(len(evidence.base_C), np.float32)
        gate_RE = np.zeros((len(evidence.true_R), len(self.experts)), np.float32)
        if self.settings.device == "cpu":
            forward.score(evidence, asked_R, self._state, self._plan, logit_C, gate_RE)
        else:
            self._torch().score(
                evidence, asked_R, self._state, self._plan, self.settings.device, logit_C, gate_RE
            )
        return logit_C, gate_RE

    def learn(self, evidence: Evidence) -> None:
        """Learn from the rows whose true candidate is given, in order, once."""
        self._assert(evidence)
        if self.settings.device == "cpu":
            learning.learn(evidence, self._state, self._plan, self._rates)
        else:
            self._torch().learn(evidence, self._state, self._plan, self._rates, self.settings.device)

    def tree(self) -> Tree:
        state = self._state
        return {
            "flat_4P": state.flat_4P.copy(),
            "mean_P": state.mean_P.copy(),
            "features": {name: column_N.copy() for name, column_N in state.features._asdict().items()},
            "context": {name: column_N.copy() for name, column_N in state.context._asdict().items()},
            "load_E": state.load_E.copy(),
            "routed_E": state.routed_E.copy(),
            "chosen_E": state.chosen_E.copy(),
            "counts": state.counts.copy(),
        }

    def load(self, tree: Tree) -> None:
        state = self._state
        for name in ("flat_4P", "load_E", "routed_E", "chosen_E", "counts"):
            getattr(state, name)[...] = tree[name]
        state.mean_P[:] = tree.get("mean_P", state.flat_4P[0])
        for name, moments in (("features", state.features), ("context", state.context)):
            for field, column_N in moments._asdict().items():
                column_N[...] = tree[name][field]

    def _torch(self) -> ModuleType:
        try:
            from learners.mixing import in_torch  # torch is optional, and slow to load
        except ModuleNotFoundError as error:
            raise InputError(
                f"mixture.device: {self.settings.device!r} needs torch; {bringing('torch')} brings it"
            ) from error
        return in_torch

    def _assert(self, evidence: Evidence) -> None:
        rows, candidates = len(evidence.true_R), len(evidence.base_C)
        assert evidence.start_R1.shape == (rows + 1,)
        assert evidence.start_R1[-1] == candidates
        assert (evidence.true_R < np.diff(evidence.start_R1)).all()
        assert {a.dtype for a in evidence[1:4]} == {np.dtype(np.float32)}
        assert evidence.evidence_CF.shape == (candidates, self.features)
        assert evidence.context_RX.shape == (rows, self.context)
        assert evidence.open_RE.shape == (rows, len(self.experts))


def _filled(columns: Sequence[int], features: int) -> Int64s:
    """The columns, filled up to a multiple of four with the one that is always 0."""
    return np.array([*columns, *[features + 1] * (-len(columns) % 4)], np.int64)


def _stacked(rows: Sequence[Int64s], features: int) -> Int64s:
    stacked_EL = np.full((len(rows), max((len(row) for row in rows), default=0)), features + 1, np.int64)
    for e, row in enumerate(rows):
        stacked_EL[e, : len(row)] = row
    return stacked_EL


def _weights(plan: Plan, context: int, hidden: int) -> tuple[Floats, Callable[[Floats], Weights]]:
    """The flat array, all zeros, and what takes a row of it apart."""
    experts, inputs = plan.hidden_EL.shape
    shapes = (
        (len(plan.linear_L),),
        (experts, context),
        (experts, len(plan.gate_L)),
        (experts, hidden, inputs),
        (experts, hidden),
    )
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    flat_4P = np.zeros((4, ends[-1]), np.float32)

    def parts(row_P: Floats) -> Weights:
        pieces = np.split(row_P, ends[:-1])
        return Weights(*(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)))

    return flat_4P, parts


def _moments(columns: int) -> Moments:
    return Moments(
        mean_N=np.zeros(columns, np.float32),
        scale_N=np.zeros(columns, np.float32),
        shift_N=np.zeros(columns, np.float32),
        sum_N=np.zeros(columns),
        square_N=np.zeros(columns),
        count_N=np.zeros(columns),
        rows_N=np.zeros(columns, np.int64),
    )


def _check(settings: MixtureSettings) -> None:
    least = {
        "hidden": 0,
        "lr": 0.0,
        "batch": 1,
        "newest": 0.0,
        "weight_decay": 0.0,
        "balance": 0.0,
        "warmup": 1,
    }
    for name, bound in least.items():
        value = getattr(settings, name)
        if not value >= bound:
            raise InputError(f"mixture.{name}: expected a number of at least {bound}, got {value}")
