"""Checks of what a learner declares, publishes and keeps.

Each says what it expected, what it got, and what to do.

Shape suffixes: N items, B rows, K interests, D width.
"""

from dataclasses import replace

import msgspec
import numpy as np

from learners.checks.bench import DAY_MS, GAPS, HOUR_MS, LONG, BrokenError, Case, expect, share_of
from state.errors import InputError
from state.tree import Tree, digest, flatten

_BRANCH = "a branch"
_GROWTH = 1.4


def what_it_declares_holds(case: Case) -> None:
    """It says something, and its ablations are settings of its own that need no more than it does."""
    cls = case.cls
    expect(
        cls.predicts or cls.ranks,
        "expected predicts or ranks to be True, got neither; nothing would be judged",
    )
    if not cls.ranks:
        try:
            replace(case, labelled=False).bench()
        except InputError:
            pass
        else:
            raise BrokenError(
                "__init__: expected InputError on a log without labels, of which it can say nothing, got none"
            )
    learner = case.bench().learner
    for variant, differ in cls.ablations.items():
        expect("/" not in variant, f"ablations: expected a name without '/', got {variant!r}")
        try:
            needs = cls(msgspec.convert(differ, cls.Config), learner.context).needs
        except msgspec.ValidationError as error:
            raise BrokenError(
                f"ablations: expected settings of {cls.Config.__name__}, got {error}"
            ) from error
        expect(
            needs.window <= learner.needs.window,
            f"ablations: expected {variant!r} to need no more than the learner, got {needs}",
        )


def vectors_fit(case: Case) -> None:
    """Items' vectors and users' interests come together and in one width; what has changed is told once."""
    bench = case.bench().run(stop=300)
    learner, changed = bench.learner, bench.learner.changed_items()
    vectors_ND = learner.item_vectors(changed)
    interests_BKD = learner.interests(bench.rows.take(slice(250, 300)))
    expect(
        (vectors_ND is None) == (interests_BKD is None),
        "item_vectors and interests: expected both or neither, got one of them",
    )
    if vectors_ND is None or interests_BKD is None:
        return
    expect(len(changed) > 0, "changed_items: expected those learned of, got none; nothing would be published")
    shape, names = (len(changed), interests_BKD.shape[2]), learner.interest_names
    expect(
        vectors_ND.shape == shape,
        f"item_vectors: expected shape {shape}, the width of interests, got {vectors_ND.shape}",
    )
    expect(
        len(names) == interests_BKD.shape[1],
        f"interest_names: expected {interests_BKD.shape[1]}, as many as interests, got {names}",
    )
    for name, made in (("item_vectors", vectors_ND), ("interests", interests_BKD)):
        expect(np.isfinite(made).all(), f"{name}: expected numbers, got nan or infinity")
    again = learner.changed_items()
    expect(len(again) == 0, f"changed_items: expected none right after a call, got {len(again)}")


def loaded_it_goes_on(case: Case) -> None:
    """What was saved in mid-stream and loaded goes on as if nothing had happened."""
    whole = case.bench(delay_ms=HOUR_MS).run(stop=300)
    if not case.cls.saved:
        try:
            whole.trainer.tree()
        except InputError:
            return
        raise BrokenError("tree: expected InputError of a learner that is not `saved`, got a state")
    resumed = case.bench(delay_ms=HOUR_MS)
    resumed.trainer.load(whole.trainer.tree())
    resumed.source.load(whole.source.tree())
    whole.scored.clear()
    todo = "tree must hold all that a later answer depends on, and load must take all of it over"
    expect(
        digest(whole.trainer.tree()) == digest(resumed.trainer.tree()),
        f"load: expected the state that tree gave, got another; {todo}",
    )
    resumed.trainer.branch(_BRANCH, case.cls.name)
    expect(
        whole.run(300).answers() == resumed.run(300).answers(),
        f"load: expected the answers of a learner that was not saved and loaded, got others; {todo}",
    )
    expect(
        resumed.answers(_BRANCH) == whole.answers(),
        "load: expected the answers of the learner that the state was taken from, which learned on beside, "
        f"got others; {todo}",
    )
    resumed.trainer.prune(_BRANCH)
    expect(
        digest(whole.trainer.tree()) == digest(resumed.trainer.tree()),
        f"load: expected to end in the state of a learner that was not saved and loaded, got another; {todo}",
    )


def doubting_is_felt_and_kept(case: Case) -> None:
    """A learner that can doubt answers otherwise later on, and what was doubted is part of its state."""
    doubting, loaded, still = (case.bench().run(stop=300) for _ in range(3))
    if not case.cls.doubts:
        try:
            doubting.learner.doubt(1.0)
        except TypeError:
            return
        raise BrokenError("doubt: expected TypeError of a learner that does not say `doubts`, got none")
    doubting.learner.doubt(1.0)
    if case.cls.saved:
        loaded.trainer.load(doubting.trainer.tree())
    for bench in (doubting, loaded, still):
        bench.trainer.rank_share = 1.0
    later = [bench.run(300).answers() for bench in (doubting, loaded, still)]
    expect(later[0] != later[2], "doubt: expected other answers later, got the same; it does nothing")
    expect(
        later[0] == later[1] or not case.cls.saved,
        "doubt: expected the answers of a learner that was saved and loaded right after, got others; what "
        "doubting changes must be part of tree",
    )


def no_gap_breaks_it(case: Case) -> None:
    """Gaps of milliseconds to centuries, both ways, leave numbers numbers."""
    bench = case.bench(kind="gaps", expire_ms=30 * DAY_MS).run(stop=GAPS, size=7)
    learner, last = bench.learner, bench.scored[-1].batch
    p = np.array(bench.answers()[0])
    expect(
        ((p > 0) & (p < 1)).all(), "step: expected P(action) in (0, 1) across gaps of centuries, got others"
    )
    made = {
        "rank": learner.rank(last) if learner.ranks else None,
        "interests": learner.interests(last),
        "item_vectors": learner.item_vectors(bench.catalogue.items.keys[: len(bench.catalogue)]),
    }
    for name, value in made.items():
        wrong = np.zeros(0, bool) if value is None else np.isnan(value)
        expect(
            not wrong.any(),
            f"{name}: expected numbers after gaps of centuries, got nan for {share_of(wrong)}",
        )


def memory_is_bounded(case: Case) -> None:
    """With an expiry, on a stream without an end on which nobody comes back, nothing grows for ever."""
    bench = case.bench(kind="endless", expire_ms=DAY_MS, ranked=0.05)
    sizes: list[tuple[int, int]] = []
    for start in range(0, LONG, 50):
        bench.run(start, start + 50)
        bench.scored.clear()
        sizes.append((_size_of(bench.learner.tree()), _size_of(bench.trainer.tree())))
    early, late = np.array(sizes[10:20]).max(0), np.array(sizes[30:]).max(0)
    expect(
        (late <= _GROWTH * early).all(),
        f"tree: expected about {early[0]:,} bytes, as on the stream's first days, got {late[0]:,} (with the "
        f"trainer's {early[1]:,} and {late[1]:,}); let `forget` drop what belongs to those who left",
    )
    expect(len(bench.catalogue) < 30, f"catalogue: expected fewer than 30 items, got {len(bench.catalogue)}")


def _size_of(tree: Tree) -> int:
    """Bytes of its arrays."""
    return sum(leaf.nbytes for _, leaf in flatten(tree) if isinstance(leaf, np.ndarray))
