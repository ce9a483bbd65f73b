"""Passes over the rows of a log, in the order of its files and within --from and --until."""

from collections.abc import Iterator, Sequence

import numpy as np

from replay.meaning.columns import Columns, take
from replay.meaning.convert import Converter
from replay.meaning.dead_letters import DeadLetters
from replay.meaning.decide import Decisions, cells_of
from replay.meaning.far_off import Hours
from replay.reading.chunks import RowsFile


class Passes:
    """As many as are asked for; each reads the files anew."""

    def __init__(
        self, files: Sequence[RowsFile], converter: Converter, bounds: tuple[str | None, str | None]
    ) -> None:
        self.converter = converter
        self._files, self._bounds = files, bounds
        self.outside, self.hours = 0, Hours()
        """Of the newest pass: rows beyond the bounds, and when all rows were."""

    def chunks(self, dead: DeadLetters, decisions: Decisions | None = None) -> Iterator[Columns]:
        """Every file's rows in the files' order, within the time bounds, numbered by `seq`.

        `decisions` see all of them.
        """
        self.converter.restart()
        self.outside, self.hours = 0, Hours()
        clock = self.converter.clock
        from_ms, until_ms = (
            None if bound is None else clock.said_ms(bound, option)
            for bound, option in zip(self._bounds, ("--from", "--until"), strict=True)
        )
        seq = 0
        for file in self._files:
            if decisions is not None:
                decisions.new_file()
            for chunk in file.chunks(self.converter.needed):
                if decisions is not None:
                    decisions.see({name: cells_of(chunk, name) for name in decisions.columns})
                columns, _, bad = self.converter.columns(chunk)
                if bad:
                    dead.add(file.path, bad)
                time_ms_B = columns["time_ms"]
                columns["seq"] = np.arange(seq, seq + len(time_ms_B))
                seq += len(time_ms_B)
                self.hours.add(time_ms_B)
                inside_B = np.ones(len(time_ms_B), np.bool_)
                if from_ms is not None:
                    inside_B &= time_ms_B >= from_ms
                if until_ms is not None:
                    inside_B &= time_ms_B < until_ms
                self.outside += len(inside_B) - int(inside_B.sum())
                yield columns if inside_B.all() else take(columns, np.flatnonzero(inside_B))
