"""Retraining offline: a learner made afresh once a day from everything known by then, served for a day.

Examples are kept on disk as they were scored, and read back batch by batch. The first pass is the trainer's
own, so it ends in the state that the online learner had; each further pass is `Learner.relearn`.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from learners.contract import Learner, Outcome, RankRequest
from learners.tables.leaveout import Had, Rule
from learners.training.served import Copies, Make, Schedule
from learners.training.trainer import Trainer
from state.errors import InputError
from state.examples import ExampleBatch


class Spill:
    """Batches of examples in one Arrow IPC stream at `path`, to be read again from the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._sink: pa.OSFile | None = None
        self._writer: pa.RecordBatchStreamWriter | None = None

    def append(self, batch: ExampleBatch) -> None:
        """Raises InputError where the disk takes no more."""
        try:
            record = batch.to_arrow()
            if self._writer is None:
                self._sink = pa.OSFile(str(self.path), "wb")
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_stream(self._sink, record.schema, options=options)
            self._writer.write_batch(record)
        except OSError as error:
            raise InputError(
                f"{self.path}: examples for retraining offline cannot be written ({error}); make room, or"
                " set offline_passes = 0"
            ) from error
        self.rows += len(batch)

    def read(self, rows: int) -> Iterator[ExampleBatch]:
        """The first `rows` examples, in the batches in which they came."""
        if not rows:
            return
        with pa.OSFile(str(self.path), "rb") as source, pa.ipc.open_stream(source) as reader:
            for record in reader:
                batch = ExampleBatch.from_arrow(record)
                yield batch.take(slice(0, rows)) if len(batch) > rows else batch
                rows -= len(batch)
                if rows <= 0:
                    return

    def close(self) -> None:
        """Close and remove the file."""
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()
            self._writer = self._sink = None
            self.path.unlink(missing_ok=True)


class Offline:
    """Learners retrained on every `stride`-th day with events, each served until the day is over.

    On the other days, and before the first, it is silent. `rule`, `rank_share` and `seed` are those of the
    run: what a learner chooses by its own rankings, it then chooses alike.
    """

    def __init__(
        self,
        make: Make,
        spill: Spill,
        *,
        every_ms: int,
        passes: int,
        stride: int = 1,
        rule: Rule = "none",
        rank_share: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.make = make
        self.spill = spill
        self.passes = passes
        self.stride = stride
        self.ranking = rule, rank_share, seed
        self.schedule = Schedule(every_ms)
        self.trainings = 0
        self.trained_rows = 0
        """Rows that all retrainings together went through, each once."""
        self.daily_rows = 0
        """The same if every day had been served."""
        self._days = 0
        self._copies: Copies | None = None

    def begin_day(self) -> None:
        """A day is over: train afresh, or be silent."""
        self.daily_rows += self.spill.rows
        self._days += 1
        self._copies = None if (self._days - 1) % self.stride else self._trained()

    def score(self, batch: ExampleBatch, request: RankRequest) -> dict[str, Outcome]:
        return {} if self._copies is None else self._copies.score(batch, request)

    def _trained(self) -> Copies:
        copies = Copies.of(self.make)
        rule, share, seed = self.ranking
        trainer = Trainer(copies.learners, copies.catalogue, Had(rule), rank_share=share, seed=seed)
        for batch in self.spill.read(self.spill.rows):
            trainer.step(batch)
        known = self.spill.rows - len(trainer.pending)
        again = [one for one in copies.learners.values() if type(one).relearn is not Learner.relearn]
        for _ in range(self.passes - 1 if again else 0):
            for batch in self.spill.read(known):
                for learner in again:
                    learner.relearn(learner.narrow(batch))
        self.trainings += 1
        self.trained_rows += self.spill.rows
        return copies


def stride(days: float, passes: int, budget: float) -> int:
    """Serve every so many days so that retraining takes at most `budget` passes over the whole log.

    A day's retraining goes `passes` times over what there is by then: half of the log, on average.
    """
    return max(1, math.ceil(days * passes / 2 / budget))
