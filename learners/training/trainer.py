"""The trainer: score, then learn, every example once, with no learner knowing more than it may.

Each micro-batch goes through the same steps: which rows become due, the item-keyed state as of each row,
what the ranking leaves out, every learner's `step`, then the listeners (measure, drift, publish).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learners.contract import Learner, Outcome, RankRequest, Step
from learners.tables.catalogue import Catalogue
from learners.tables.expiry import Expiry, Forgotten
from learners.tables.identity import identity, uniform
from learners.tables.leaveout import Had
from learners.tables.pending import Pending
from learners.training.recalibrated import Recalibration
from state.compiled import compiled
from state.errors import InputError
from state.examples import ExampleBatch
from state.keys import Int64s, mix
from state.tree import Tree


@dataclass(frozen=True, slots=True)
class Scored:
    """What listeners get of every micro-batch: the rows with all their features, and what was said."""

    batch: ExampleBatch
    request: RankRequest
    outcomes: Mapping[str, Outcome]
    forgotten: tuple[Forgotten, ...] = ()
    """What the trainer forgot after some of the rows."""


Listener = Callable[[Scored], None]


class Trainer:
    """Drives learners over a stream of examples.

    `rank_share` of the rows, chosen by the example's identity and `seed`, have the whole catalogue ranked;
    on a log with labels only positives (label > 1/2) do. With `expiry` it forgets users and items in time.
    """

    def __init__(
        self,
        learners: Mapping[str, Learner],
        catalogue: Catalogue,
        had: Had,
        *,
        rank_share: float = 1.0,
        seed: int = 0,
        listeners: tuple[Listener, ...] = (),
        expiry: Expiry | None = None,
    ) -> None:
        self.learners = dict(learners)
        self.catalogue = catalogue
        self.had = had
        self.pending = Pending()
        self._selection = {name: learner.needs.selection for name, learner in self.learners.items()}
        self.rank_share = rank_share
        self.seed = seed
        self.listeners = listeners
        self.expiry = expiry
        self._recalibrated: dict[str, Recalibration] = {}
        self._branches: dict[str, str] = {}

    def branch(self, name: str, of: str) -> None:
        """From the next row on, a copy of learner `of` learns beside it as `name`."""
        self._begin_branch(name, of)
        self.learners[name].load(self.learners[of].tree())
        if of in self._recalibrated:
            self._recalibrated[name] = Recalibration()
            self._recalibrated[name].load(self._recalibrated[of].tree())

    def _begin_branch(self, name: str, of: str) -> None:
        grown = self.learners[of]
        self.learners[name] = type(grown)(grown.config, grown.context)
        self._selection[name], self._branches[name] = self._selection[of], of

    def prune(self, name: str) -> None:
        """A copy's end."""
        for kept in (self.learners, self._selection, self._branches, self._recalibrated):
            kept.pop(name, None)

    def recalibrate(self, name: str) -> None:
        """Learn anew what this learner's P(action) means, from the next row on."""
        if name in self._recalibrated:
            self._recalibrated[name].begin()
        else:
            self._recalibrated[name] = Recalibration(len(self.pending))

    def step(self, batch: ExampleBatch) -> Scored:
        """Score the rows of `batch`, then learn all that is due by its end.

        Where it is time to forget between two rows of it, it is gone through in pieces.
        """
        if self.expiry is None:
            return self._step(batch)
        parts = []
        for rows in self.expiry.parts(len(batch)):
            scored = self._step(batch.take(rows))
            forgotten = self.expiry.sweep(len(scored.batch), self.catalogue)
            if forgotten is not None:
                self.had.forget(forgotten)
                for learner in self.learners.values():
                    learner.forget(forgotten)
                scored = replace(scored, forgotten=(forgotten,))
            parts.append(scored)
        return parts[0] if len(parts) == 1 else joined(batch, parts)

    def _step(self, batch: ExampleBatch) -> Scored:
        waiting = len(self.pending)
        due_B = self.pending.due(batch)
        due = int(due_B[-1])
        self.pending.push(batch)
        queue = self.pending.pop(due)
        if self.expiry is not None:
            self.expiry.know(queue)
        rates_BR, size_B = self.catalogue.step(batch, queue, due_B)
        here = max(due - waiting, 0)
        batch = batch.with_item_rates(rates_BR)
        queue = queue.with_item_rates(np.concatenate([queue.item_rates_BR[:waiting], rates_BR[:here]]))
        self.pending.rate(rates_BR[here:])
        request = self._request(batch, size_B, queue, due_B)
        step = Step(batch, queue, due_B, request)
        seen = {selection: step.narrow(selection) for selection in set(self._selection.values())}
        outcomes = {
            name: learner.step(seen[self._selection[name]]) for name, learner in self.learners.items()
        }
        for name, recalibration in self._recalibrated.items():
            said_B = outcomes[name].p_B
            assert said_B is not None
            p_B = recalibration.step(said_B, queue.label_B, due_B)
            outcomes[name] = replace(outcomes[name], p_B=p_B)
        scored = Scored(batch, request, outcomes)
        for listener in self.listeners:
            listener(scored)
        return scored

    def rehearse(self, every: int) -> None:
        """Forget after every so many rows: for a trainer whose work only makes kernels be compiled."""
        if self.expiry is not None:
            self.expiry.every = every

    def finish(self) -> None:
        """The stream is over: everything still waiting becomes known and is learned."""
        if len(self.pending):
            rest = self.pending.pop(len(self.pending))
            self.catalogue.learn(rest)
            self.had.learn(rest)
            for learner in self.learners.values():
                learner.learn(learner.narrow(rest))

    def _request(
        self, batch: ExampleBatch, size_B: Int64s, queue: ExampleBatch, due_B: Int64s
    ) -> RankRequest:
        seen = self.had.step(batch, queue, due_B)
        chosen_B = ~seen.own_B
        if batch.labelled:
            chosen_B &= batch.label_B > 0.5
        if self.rank_share < 1.0:
            chosen_B &= _chosen(batch.partition_B, batch.offset_B, batch.index_B, self.seed, self.rank_share)
        rows_R = np.flatnonzero(chosen_B)
        true_R = self.catalogue.items.rows(batch.item_B[rows_R])
        size_R = size_B[rows_R]
        true_R[true_R >= size_R] = -1
        start_R1, left_out = self.had.listed(seen.take(rows_R))
        return RankRequest(rows_R, true_R, size_R, start_R1, self.catalogue.items.rows(left_out))

    def tree(self, *, unsaved: bool = True) -> Tree:
        """Everything; `unsaved=False` leaves out learners that have no tree to give, instead of failing."""
        recalibrated = {name: one.tree() for name, one in self._recalibrated.items()}
        return {
            "catalogue": self.catalogue.tree(),
            "had": self.had.tree(),
            "pending": self.pending.tree(),
            **({} if self.expiry is None else {"expiry": self.expiry.tree()}),
            "learners": {
                name: _laid_out(learner)
                for name, learner in self.learners.items()
                if learner.saved or unsaved
            },
            **({"recalibrated": recalibrated} if recalibrated else {}),
            **({"branches": dict(self._branches)} if self._branches else {}),
        }

    def load(self, tree: Tree) -> None:
        self.catalogue.load(tree["catalogue"])
        self.had.load(tree["had"])
        self.pending.load(tree["pending"])
        if self.expiry is not None:
            self.expiry.load(tree.get("expiry", {}))
        for name in list(self._branches):
            self.prune(name)
        for name, of in tree.get("branches", {}).items():
            self._begin_branch(name, of)
        for name, learner in self.learners.items():
            kept = tree["learners"].get(name, {})
            layout = kept.get("layout", 1)
            if layout != learner.layout:
                raise InputError(
                    f"checkpoint: {name} was saved in layout {layout} of its state, and this version of "
                    f"Ebbtide has layout {learner.layout}; begin anew without it, or go on with the version "
                    "that saved it"
                )
            learner.load(kept)
        for name, kept in tree.get("recalibrated", {}).items():
            self._recalibrated[name] = Recalibration()
            self._recalibrated[name].load(kept)


def _laid_out(learner: Learner) -> Tree:
    """Its state; the first layout needs no number."""
    return learner.tree() | ({"layout": learner.layout} if learner.layout > 1 else {})


def joined(batch: ExampleBatch, parts: Sequence[Scored]) -> Scored:
    """Pieces of a micro-batch as one, with the outcomes of who said something of all of them.

    Catalogue rows of its request are as they were at each.
    """
    starts = np.cumsum([0, *(len(part.batch) for part in parts)])
    requests = [part.request for part in parts]
    left = np.cumsum([0, *(len(request.left_out) for request in requests)])
    request = RankRequest(
        np.concatenate([one.rows_R + start for one, start in zip(requests, starts, strict=False)]),
        np.concatenate([one.true_R for one in requests]),
        np.concatenate([one.size_R for one in requests]),
        np.append(
            np.concatenate(
                [one.left_start_R1[:-1] + start for one, start in zip(requests, left, strict=False)]
            ),
            left[-1],
        ),
        np.concatenate([one.left_out for one in requests]),
    )
    outcomes = {}
    for name in parts[0].outcomes:
        if any(name not in part.outcomes for part in parts):
            continue
        of_parts = [part.outcomes[name] for part in parts]
        p = [outcome.p_B for outcome in of_parts if outcome.p_B is not None]
        rank = [outcome.rank_R for outcome in of_parts if outcome.rank_R is not None]
        outcomes[name] = Outcome(np.concatenate(p) if p else None, np.concatenate(rank) if rank else None)
    rates_BR = np.concatenate([part.batch.item_rates_BR for part in parts])
    return Scored(
        batch.with_item_rates(rates_BR), request, outcomes, sum((part.forgotten for part in parts), ())
    )


@compiled
def _chosen(
    partition_B: Int64s, offset_B: Int64s, index_B: Int64s, seed: int, share: float
) -> NDArray[np.bool_]:
    chosen_B = np.empty(len(offset_B), np.bool_)
    for b in range(len(offset_B)):
        bits = mix(identity(partition_B[b], offset_B[b], index_B[b]) ^ mix(seed + 1))
        chosen_B[b] = uniform(bits) < share
    return chosen_B
