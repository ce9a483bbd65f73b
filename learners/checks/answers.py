"""Checks of what a learner says.

Each says what it expected, what it got, and what to do.

Shape suffixes: B rows, N catalogue rows, R ranked rows.
"""

from dataclasses import replace

import numpy as np

from learners.checks.bench import DAY_MS, SIZE, Case, expect, share_of
from learners.tables.true_ranks import MISSED
from state.examples import USER_RATES, ExampleBatch
from state.keys import NO_KEY
from state.tree import digest

_LAST = SIZE - 40
_OWN = [USER_RATES.index(f"{of}_{what}") for of in ("item", "category") for what in ("count", "positives")]


def scoring_changes_nothing(case: Case) -> None:
    """`score` and `rank` are questions: asked or not, once or twice, all goes on the same."""
    bench, unasked = (case.bench().run(stop=400) for _ in range(2))
    rows, learner = bench.rows.take(slice(300, 360)), bench.learner
    for name, asked in (("score", learner.predicting), ("rank", learner.ranks)):
        if asked:
            ask = getattr(learner, name)
            first, second = np.array(ask(rows)), np.array(ask(rows))
            wrong = first != second
            expect(
                not wrong.any(),
                f"{name}: expected the same for the same rows, got other values for {share_of(wrong)}",
            )
    if case.cls.saved:
        same = digest(learner.tree()) == digest(unasked.learner.tree())
        expect(
            same, "tree: expected the same after score and rank as before, got another; let them only read"
        )
    bench.run(400)
    unasked.run(400)
    expect(
        bench.answers() == unasked.answers(),
        "step: expected the same answers whether score and rank were called before or not, got others; "
        "let them only read",
    )


def a_batch_is_its_rows(case: Case) -> None:
    """Rows scored together are scored as they would be one by one."""
    bench = case.bench().run(stop=400)
    rows, learner = bench.rows.take(slice(330, 360)), bench.learner
    singles = [rows.take(slice(i, i + 1)) for i in range(len(rows))]
    if learner.predicting:
        wrong = learner.score(rows) != np.concatenate([learner.score(row) for row in singles])
        expect(
            not wrong.any(),
            f"score: expected of a batch what its rows get one by one, got others for {share_of(wrong)}",
        )
    if learner.ranks:
        stacked = np.concatenate([learner.rank(row) for row in singles])
        wrong = ~np.isclose(learner.rank(rows), stacked, rtol=1e-5, atol=1e-6)
        expect(
            not wrong.any(),
            f"rank: expected of a batch what its rows get one by one, got others for {share_of(wrong)}",
        )


def answers_are_in_range(case: Case) -> None:
    """From the first event on: probabilities are, and ranks are within the catalogue."""
    bench = case.bench(ranked=1.0).run(size=1, stop=60)
    for part in bench.scored:
        outcome = part.outcomes[bench.learner.name]
        if bench.learner.predicting:
            expect(outcome.p_B is not None, "step: expected p_B of a learner that predicts, got none")
            assert outcome.p_B is not None
            wrong = ~((outcome.p_B > 0) & (outcome.p_B < 1))
            expect(not wrong.any(), f"score: expected P(action) in (0, 1), got {outcome.p_B[wrong]}")
        if bench.learner.ranks:
            expect(outcome.rank_R is not None, "step: expected rank_R of a learner that ranks, got none")
            assert outcome.rank_R is not None
            unknown_R = part.request.true_R < 0
            most_R = np.where(unknown_R, MISSED, part.request.size_R)
            wrong = (outcome.rank_R < np.where(unknown_R, MISSED, 1)) | (outcome.rank_R > most_R)
            expect(
                not wrong.any(),
                f"step: expected ranks from 1 to the catalogue's size, and MISSED where true_R is -1, got "
                f"{outcome.rank_R[wrong]}",
            )


def the_seed_decides(case: Case) -> None:
    """The same seed, log and batches give the same answers and the same state."""
    first, second = (case.bench(seed=3).run() for _ in range(2))
    todo = "draw from numpy.random.default_rng(context.seed), and ask no clock"
    expect(
        first.answers() == second.answers(),
        f"step: expected the same answers of the same seed, got others; {todo}",
    )
    if case.cls.saved:
        same = digest(first.learner.tree()) == digest(second.learner.tree())
        expect(same, f"tree: expected the same state of the same seed, got another; {todo}")


def unknown_ids_are_no_trouble(case: Case) -> None:
    """Users and items that were never seen have numbers, too."""
    bench = case.bench().run(stop=300)
    rows, learner = bench.rows.take(slice(0, 20)), bench.learner
    strange = replace(rows, user_B=rows.user_B + 10**15, item_B=rows.item_B + 10**15)
    if learner.predicting:
        score_B = learner.score(strange)
        expect(np.isfinite(score_B).all(), f"score: expected numbers for ids never seen, got {score_B}")
    if learner.ranks:
        score_BN, shape = learner.rank(strange), (len(strange), len(bench.catalogue))
        expect(score_BN.shape == shape, f"rank: expected shape {shape}, got {score_BN.shape}")
        wrong = np.isnan(score_BN)
        expect(not wrong.any(), f"rank: expected numbers for users never seen, got nan for {share_of(wrong)}")


def no_outcome_is_known_early(case: Case) -> None:
    """Under a delay longer than the log, no outcome that is changed afterwards can change what was said."""
    bench = case.bench(delay_ms=10**12).run()
    if not case.labelled:
        known = set(bench.answers()[1]) - {MISSED}
        expect(not known, f"rank: expected MISSED while nothing is known, got ranks {sorted(known)[:5]}")
        return
    turned = case.bench(kind="turned", delay_ms=10**12).run()
    expect(
        bench.answers()[0] == turned.answers()[0],
        "score: expected the same whatever the labels are that are not known yet, got others; learn in "
        "`learn`, from the rows that it is given",
    )


def what_is_the_items_own_moves_no_rank(case: Case) -> None:
    """A ranking knows the request, not the answer: what an event takes over from its item tells nothing."""
    if not case.cls.ranks:
        return
    plain, disguised = (_last_ranks(case, disguise) for disguise in (False, True))
    expect(
        plain == disguised,
        "rank: expected the same ranks whatever the row's own item, category, place and item rates are, got "
        "others; build no feature of a ranking from them",
    )


def _last_ranks(case: Case, disguise: bool) -> list[int]:
    """Of the last rows, of which nothing is learned before all are ranked."""
    bench = case.bench(delay_ms=3 * DAY_MS).run(0, _LAST)
    bench.trainer.rank_share = 1.0
    batch = bench.source.examples(_LAST, SIZE)
    bench.trainer.step(_disguised(batch) if disguise else batch)
    rank_R = bench.scored[-1].outcomes[bench.learner.name].rank_R
    return [] if rank_R is None else rank_R.tolist()


def _disguised(batch: ExampleBatch) -> ExampleBatch:
    """The same requests and items, with nothing right of what an event takes over from its item."""
    size = len(batch)
    rates_BR = batch.user_rates_BR.copy()
    rates_BR[:, _OWN] = 7.0
    return replace(
        batch,
        lat_B=np.full(size, 40.7),
        lon_B=np.full(size, -74.0),
        cell_B=np.where(batch.cell_B == batch.cell_B[0], NO_KEY, batch.cell_B[0]),
        category_B=batch.category_B[::-1].copy(),
        user_rates_BR=rates_BR,
    )
