"""No learner knows more than it may: which rows are due, what the catalogue and the left-out lists know."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.contract import Learner, Outcome, Settings, Step
from learners.tables.catalogue import Catalogue, negatives
from learners.tables.leaveout import IDLE_MS, Had, Rule
from learners.training.trainer import Scored, Trainer
from state.examples import ITEM_RATES, ExampleBatch, empty_examples
from state.keys import Int64s
from state.tree import digest

COUNT, POSITIVES = ITEM_RATES.index("count"), ITEM_RATES.index("positives")

DAY_S = 86_400
GAPS = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 2, DAY_S, 2 * DAY_S])
EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), GAPS, st.booleans()), min_size=1, max_size=40
)
"""user, item, seconds since the event before, label"""


def stream(events: list[tuple[int, int, int, bool]], delay_s: int = 0, labelled: bool = True) -> ExampleBatch:
    user, item, gap, label = (np.array(column) for column in zip(*events, strict=True))
    time_ms = np.cumsum(gap) * 1000
    return replace(
        empty_examples(len(events)),
        offset_B=np.arange(len(events)),
        user_B=user,
        session_B=user * 10,
        item_B=item,
        time_ms_B=time_ms,
        known_ms_B=time_ms + delay_s * 1000,
        label_B=label.astype(np.float32) if labelled else np.full(len(events), np.nan, np.float32),
    )


class Spy(Learner):
    """Writes down which rows it was shown, in which order."""

    name = "spy"
    predicts = True

    def __init__(self) -> None:
        self.config = Settings()
        self.learned: list[int] = []
        self.before: list[int] = []

    def step(self, step: Step) -> Outcome:
        done = len(self.learned)
        self.learned += step.queue.offset_B.tolist()
        self.before += (done + step.due_B).tolist()
        assert step.due == len(step.queue)
        return Outcome(p_B=np.full(len(step.batch), 0.5))

    def learn(self, batch: ExampleBatch) -> None:
        self.learned += batch.offset_B.tolist()


def trained(rows: ExampleBatch, size: int, rule: Rule = "none") -> tuple[Trainer, Spy, list[Scored]]:
    spy, scored = Spy(), list[Scored]()
    trainer = Trainer({"spy": spy}, Catalogue(), Had(rule), listeners=(scored.append,))
    for start in range(0, len(rows), size):
        trainer.step(rows.take(np.arange(start, min(start + size, len(rows)))))
    trainer.finish()
    return trainer, spy, scored


@given(EVENTS, st.integers(0, 3), st.integers(1, 9))
def test_a_row_is_due_once_it_is_known_and_learned_once(
    events: list[tuple[int, int, int, bool]], delay_s: int, size: int
) -> None:
    rows = stream(events, delay_s)
    _, spy, _ = trained(rows, size)
    assert spy.learned == list(range(len(rows)))
    for i in range(len(rows)):
        known = sum(rows.known_ms_B[j] <= rows.time_ms_B[i] for j in range(i))
        assert spy.before[i] <= known
        if size == 1:
            assert spy.before[i] == known


def unbroken(rows: ExampleBatch, own: list[int]) -> list[int]:
    """What comes before the last of a session's events, back to the first gap of more than a day."""
    gap_ms = np.diff(rows.time_ms_B[own])
    breaks = np.flatnonzero(gap_ms > IDLE_MS)
    return own[breaks[-1] + 1 if len(breaks) else 0 : -1]


@given(EVENTS, st.integers(0, 3), st.integers(1, 9), st.sampled_from(["none", "user", "session"]))
def test_item_rates_and_left_out_lists_are_as_of_each_row_whatever_the_batches(
    events: list[tuple[int, int, int, bool]], delay_s: int, size: int, rule: Rule
) -> None:
    rows = stream(events, delay_s)
    trainer, _, scored = trained(rows, size, rule)
    i = 0
    for part in scored:
        ranked = dict(zip(part.request.rows_R.tolist(), range(len(rows)), strict=False))
        for b in range(len(part.batch)):
            known = [j for j in range(i) if rows.known_ms_B[j] <= rows.time_ms_B[i]]
            same = [j for j in known if rows.item_B[j] == rows.item_B[i]]
            assert part.batch.item_rates_BR[b, COUNT] == len(same)
            assert part.batch.item_rates_BR[b, POSITIVES] == sum(rows.label_B[j] for j in same)
            own = [j for j in known if rows.user_B[j] == rows.user_B[i] and rule != "none"]
            had = {rows.item_B[j] for j in (unbroken(rows, [*own, i]) if rule == "session" else own)}
            assert (b in ranked) == (rows.label_B[i] == 1 and rows.item_B[i] not in had)
            if b in ranked:
                r = ranked[b]
                left = part.request.left_out[
                    part.request.left_start_R1[r] : part.request.left_start_R1[r + 1]
                ]
                assert {trainer.catalogue.items.keys[n] for n in left} == had
                assert part.request.size_R[r] == len({rows.item_B[j] for j in known})
                assert (part.request.true_R[r] >= 0) == bool(same)
            i += 1


@given(EVENTS, st.integers(0, 3), st.integers(1, 9), st.sampled_from(["user", "session"]))
def test_the_state_does_not_depend_on_the_batches(
    events: list[tuple[int, int, int, bool]], delay_s: int, size: int, rule: Rule
) -> None:
    rows = stream(events, delay_s)
    ends = [digest(trained(rows, n, rule)[0].tree()) for n in (1, size, len(rows))]
    assert len(set(ends)) == 1


@pytest.mark.parametrize("size", [1, 7, 64])
def test_sessions_that_are_over_are_dropped_and_no_answer_tells(size: int) -> None:
    rng = np.random.default_rng(0)
    events = [
        (i // 50 + int(rng.integers(0, 40)), int(rng.integers(0, 8)), int(rng.choice([600, 3600])), True)
        for i in range(4000)
    ]
    rows = stream(events)
    had, most = Had("session"), 0
    for start in range(0, len(rows), size):
        batch = rows.take(np.arange(start, min(start + size, len(rows))))
        seen = had.step(batch, rows.take(slice(max(start - 1, 0), start + len(batch) - 1)), due(start, batch))
        most = max(most, len(had.pairs.keys), len(had.owners.keys))
        start_R1, keys = had.listed(seen)
        for b in range(len(batch)):
            own = np.flatnonzero(rows.user_B[: start + b + 1] == batch.user_B[b]).tolist()
            listed = keys[start_R1[b] : start_R1[b + 1]].tolist()
            items = rows.item_B[unbroken(rows, own)].tolist()
            assert listed == list(dict.fromkeys(items))[::-1]
            assert seen.own_B[b] == (batch.item_B[b] in items)
    assert most <= 256
    assert had.of(int(rows.session_B[0])).tolist() == []
    whole = Had("session")
    whole.step(rows, rows, np.arange(len(rows)))
    assert digest(had.tree()) == digest(whole.tree())


def due(start: int, batch: ExampleBatch) -> Int64s:
    """Without delay, of a queue that begins with the row before the batch."""
    return np.arange(len(batch)) + (start > 0)


@given(EVENTS, st.integers(0, 2), st.integers(1, 9), st.data())
def test_a_loaded_trainer_goes_on_like_the_saved_one(
    events: list[tuple[int, int, int, bool]], delay_s: int, size: int, data: st.DataObject
) -> None:
    rows = stream(events, delay_s)
    cut = data.draw(st.integers(1, len(rows)))
    saved = Trainer({}, Catalogue(), Had("session"))
    saved.step(rows.take(slice(0, cut)))
    loaded = Trainer({}, Catalogue(), Had("session"))
    loaded.load(saved.tree())
    for trainer in (saved, loaded):
        for start in range(cut, len(rows), size):
            trainer.step(rows.take(np.arange(start, min(start + size, len(rows)))))
        trainer.finish()
    assert digest(loaded.tree()) == digest(saved.tree())


def test_a_share_of_rows_is_ranked_by_identity_not_by_batch() -> None:
    rows = stream([(0, i % 5, 1, True) for i in range(2000)])

    def ranked(size: int, seed: int) -> Int64s:
        scored: list[Scored] = []
        trainer = Trainer(
            {}, Catalogue(), Had("none"), rank_share=0.25, seed=seed, listeners=(scored.append,)
        )
        for start in range(0, len(rows), size):
            trainer.step(rows.take(np.arange(start, min(start + size, len(rows)))))
        return np.concatenate([part.batch.offset_B[part.request.rows_R] for part in scored])

    assert ranked(7, 0).tolist() == ranked(500, 0).tolist()
    assert ranked(7, 0).tolist() != ranked(7, 1).tolist()
    assert 400 < len(ranked(64, 0)) < 600


def test_negatives_follow_faded_popularity_and_the_events_identity() -> None:
    events = [(0, int(i % 10 == 9), 1, True) for i in range(5000)]
    rows = stream(events, labelled=False)
    catalogue = Catalogue()
    catalogue.learn(rows)
    draws_BS, log_q_N = negatives(catalogue, rows, 4, seed=1)
    share = 9**0.75 / (9**0.75 + 1)
    assert abs(float((draws_BS == 0).mean()) - share) < 0.02
    assert abs(float(np.exp(log_q_N[0])) - share) < 0.02
    part, _ = negatives(catalogue, rows.take(slice(100, 103)), 4, seed=1)
    assert part.tolist() == draws_BS[100:103].tolist()
    assert negatives(catalogue, rows, 4, seed=2)[0].tolist() != draws_BS.tolist()
