"""What every learner said of every event, kept as it was said.

Events are collected in a tail of bounded size; a full tail becomes `predictions/part-00000.arrow`, and so
on. The files are what the metrics are computed from, and they are for researchers too: one row an event,
with the user's and the item's key, every learner's P(action) (`p.<learner>`, NaN where it gives none) and
rank (`rank.<learner>`, 0 where nothing was ranked), all said before the event was learned from, and whatever
else a run has to say of events.

A checkpoint holds the tail, the number of complete parts and a digest of what is in them: a run that was
killed and goes on ends with the same files.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners.contract import Learner, Outcome, RankRequest
from learners.judging.evaluation import Evaluation
from learners.judging.judge import Events, Speaker, first_scored, judge
from state.errors import EbbtideError, InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import KeyMap
from state.tree import Tree, digest

PART_EVENTS = 65_536
"""Events in a complete part."""

_EXAMPLE: dict[str, type[np.generic]] = {
    "partition": np.int64,
    "offset": np.int64,
    "index": np.int64,
    "time_ms": np.int64,
    "user": np.int64,
    "item": np.int64,
    "scene": np.int64,
    "label": np.float32,
}
_COLD: dict[str, type[np.generic]] = {"cold_user": np.uint8, "cold_item": np.uint8}


class Measure:
    """Keeps what learners say under `directory`, and judges them at the end.

    `of` says which of the learners are variants or copies, and of which learner; only these may be silent.
    `more` are further columns of numbers.
    A run from the start replaces what an earlier run left there, when it has its first part to write.
    """

    def __init__(
        self,
        directory: Path,
        learners: Mapping[str, Learner],
        *,
        of: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
        part_events: int = PART_EVENTS,
    ) -> None:
        self.directory = directory
        self.speakers = tuple(
            Speaker(name, learner.predicting, learner.ranks, learner.floor, (of or {}).get(name))
            for name, learner in learners.items()
        )
        self.more = tuple(more)
        self.parts = 0
        """Complete parts on disk."""
        self._size = part_events
        self._used = 0
        self._held = 0
        self._chain = ""
        self._chained = 0
        self._tail: dict[str, NDArray[Any]] = {
            name: np.zeros(part_events, dtype) for name, dtype in (_EXAMPLE | _COLD | self._said()).items()
        }

    def _said(self) -> dict[str, type[np.generic]]:
        p = {f"p.{s.name}": np.float32 for s in self.speakers if s.predicts}
        rank = {f"rank.{s.name}": np.int32 for s in self.speakers if s.ranks}
        return {**p, **rank, **dict.fromkeys(self.more, np.float64)}

    def __len__(self) -> int:
        return self.parts * self._size + self._used

    def add(
        self,
        batch: ExampleBatch,
        outcomes: Mapping[str, Outcome],
        request: RankRequest,
        more: Mapping[str, Doubles] | None = None,
    ) -> None:
        """Keep what was said of a batch whose item rates are filled in; `more` has the further columns.

        Raises EbbtideError where a P(action) lies outside [0, 1] or is no number.
        """
        columns: dict[str, NDArray[Any]] = {} if more is None else dict(more)
        for speaker in self.speakers:
            outcome = outcomes[speaker.name] if speaker.of is None else outcomes.get(speaker.name, _SILENT)
            if speaker.predicts and outcome is _SILENT:
                columns[f"p.{speaker.name}"] = np.full(len(batch), np.nan, np.float32)
            elif speaker.predicts:
                columns[f"p.{speaker.name}"] = _checked(speaker.name, outcome)
            if speaker.ranks:
                rank_B = np.zeros(len(batch), np.int32)
                if outcome.rank_R is not None:
                    rank_B[request.rows_R] = outcome.rank_R
                columns[f"rank.{speaker.name}"] = rank_B
        start = 0
        while start < len(batch):
            stop = min(len(batch), start + self._size - self._used)
            rows, to = slice(start, stop), slice(self._used, self._used + stop - start)
            for name in _EXAMPLE:
                self._tail[name][to] = getattr(batch, f"{name}_B")[rows]
            self._tail["cold_user"][to] = batch.user_rates_BR[rows, 0] == 0
            self._tail["cold_item"][to] = batch.item_rates_BR[rows, 0] == 0
            for name, said_B in columns.items():
                self._tail[name][to] = said_B[rows]
            self._used += stop - start
            self._held = min(self._held + stop - start, self._size)
            if self._used == self._size:
                self._spill()
            start = stop

    def recent(self, events: int = 5000) -> dict[str, dict[str, float]]:
        """A quick look for a progress line: log loss and recall@10 of the models over the last events.

        Looks no further back than what is in memory; floors are shown where there is nothing else.
        """
        back = np.arange(self._used - min(events, self._held), self._used)
        label = self._tail["label"][back]
        shown: dict[str, dict[str, float]] = {}
        own = [speaker for speaker in self.speakers if speaker.of is None]
        for speaker in [s for s in own if not s.floor] or own:
            metrics: dict[str, float] = {}
            if speaker.predicts and not np.isnan(label).all():
                p = self._tail[f"p.{speaker.name}"][back].astype(np.float64)
                right = np.where(label > 0.5, p, 1 - p)[~np.isnan(label)]
                metrics["log_loss"] = float(-np.log(np.maximum(right, 1e-6)).mean())
            if speaker.ranks:
                rank = self._tail[f"rank.{speaker.name}"][back]
                if (rank > 0).any():
                    metrics["recall@10"] = float((rank[rank > 0] <= 10).mean())
            if metrics:
                shown[speaker.name] = metrics
        return shown

    def evaluate(self, score_from: float | int = 0.0) -> Evaluation:
        """Judge every learner over all events; `score_from` is a fraction (float) or a time in ms (int)."""
        return judge(self._events(), self.speakers, self._said_by, score_from)

    def _events(self) -> Events:
        users = KeyMap()
        rows = [users.rows(np.array(keys), grow=True).astype(np.int32) for keys in self._chunks("user")]
        return Events(
            time_ms_E=self._column("time_ms"),
            user_E=np.concatenate(rows),
            users=len(users),
            label_E=self._column("label"),
            cold_user_E=self._column("cold_user"),
            cold_item_E=self._column("cold_item"),
        )

    def _said_by(self, speaker: Speaker) -> tuple[Floats | None, NDArray[np.int32] | None]:
        return (
            self._column(f"p.{speaker.name}") if speaker.predicts else None,
            self._column(f"rank.{speaker.name}") if speaker.ranks else None,
        )

    def scored(self, names: Sequence[str], score_from: float | int = 0.0) -> dict[str, NDArray[Any]]:
        """Columns of the scored part."""
        first = first_scored(self._column("time_ms"), score_from)
        return {name: self._column(name)[first:] for name in names}

    def close(self) -> list[Path]:
        """Write the tail as the last part; the paths of all parts, in order. May be called again."""
        if self._used or not self.parts:
            self._write(self.parts, self._used)
        last = self.parts + bool(self._used or not self.parts)
        self._remove_from(last)
        return [self._path(part) for part in range(last)]

    def tree(self) -> Tree:
        """The tail, and a digest of the parts on disk, which are synced first.

        Only a run that saves itself pays for digests, and for each part once.
        """
        for part in range(self._chained, self.parts):
            with self._path(part).open("rb") as file:
                os.fsync(file.fileno())
        self._chain, self._chained = self._extended(self._chain, self._chained), self.parts
        return {
            "parts": self.parts,
            "chain": self._chain,
            "tail": {name: column[: self._used].copy() for name, column in self._tail.items()},
        }

    def load(self, tree: Tree) -> None:
        """Go on from a checkpoint: its parts must be there, unaltered; later ones are removed."""
        expected, actual = sorted(self._tail), sorted(tree["tail"])
        if expected != actual:
            raise InputError(
                f"checkpoint: expected what these learners say ({', '.join(expected)}), found"
                f" ({', '.join(actual)}); resume with the learners that the run was started with"
            )
        self.parts, self._chain = int(tree["parts"]), str(tree["chain"])
        self._used = self._held = len(tree["tail"]["user"])
        for name, column in self._tail.items():
            column[: self._used] = tree["tail"][name]
        self._verify()
        self._remove_from(self.parts)

    def _spill(self) -> None:
        if self.parts == 0:
            self._remove_from(0)
        self._write(self.parts, self._size)
        self.parts += 1
        self._used = 0

    def _write(self, part: int, rows: int) -> None:
        path = self._path(part)
        batch = pa.record_batch({name: pa.array(column[:rows]) for name, column in self._tail.items()})
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
                writer.write_batch(batch)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error}); make room or choose another folder"
            ) from error

    def _verify(self) -> None:
        if self._extended("", 0) != self._chain:
            raise InputError(
                f"{self.directory}: expected the {self.parts} parts that the checkpoint was made with, found"
                " other content; resume where the run wrote, or start afresh"
            )
        self._chained = self.parts

    def _extended(self, chain: str, since: int) -> str:
        """The digest of all complete parts, given that of the parts before `since`."""
        for part in range(since, self.parts):
            try:
                chain = digest({"before": chain, "part": self._read(part)})
            except (OSError, pa.ArrowInvalid) as error:
                raise InputError(f"{self._path(part)}: cannot be read ({error}); start afresh") from error
        return chain

    def _read(self, part: int) -> dict[str, NDArray[Any]]:
        """Columns of a complete part, mapped into memory."""
        with pa.memory_map(str(self._path(part))) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        return {name: batch.column(name).to_numpy() for name in batch.schema.names}

    def _chunks(self, name: str) -> Iterator[NDArray[Any]]:
        for part in range(self.parts):
            yield self._read(part)[name]
        yield self._tail[name][: self._used]

    def _column(self, name: str) -> NDArray[Any]:
        return np.concatenate(list(self._chunks(name)))

    def _path(self, part: int) -> Path:
        return self.directory / f"part-{part:05d}.arrow"

    def _remove_from(self, part: int) -> None:
        keep = {self._path(kept).name for kept in range(part)}
        for path in self.directory.glob("part-*.arrow"):
            if path.name not in keep:
                path.unlink()


_SILENT = Outcome()


def _checked(name: str, outcome: Outcome) -> NDArray[Any]:
    p_B = outcome.p_B
    if p_B is None or (len(p_B) and not (p_B.min() >= 0.0 and p_B.max() <= 1.0)):
        bad = "nothing" if p_B is None else p_B[~((p_B >= 0.0) & (p_B <= 1.0))][0]
        raise EbbtideError(f"learner {name}: expected P(action) in [0, 1], got {bad}")
    return p_B
