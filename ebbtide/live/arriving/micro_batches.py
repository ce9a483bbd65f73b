"""A topic's messages in the micro-batches in which they are learned: those of a journal, then live."""

from collections import deque
from collections.abc import Mapping, Sequence

from ebbtide.live.arriving.intake import Arrival, arrival
from ebbtide.live.arriving.journal import Line
from state.errors import InputError
from streams.kafka.reader import Reader

ROWS = 1024
"""Examples in a micro-batch; where that is less than a message, a message is one."""


class MicroBatches:
    """Hands out micro-batches; `lines` are followed first."""

    def __init__(
        self, reader: Reader, lines: Sequence[Line] = (), alone: Mapping[int, int] | None = None
    ) -> None:
        self.reader = reader
        self._alone = dict(alone or {})
        """Partition -> offset, up to which a message is a micro-batch."""
        self.lines = deque(lines)
        """What is still to be followed."""
        self.waiting: deque[Arrival] = deque()
        """Decoded and not handed out."""
        self._rows = 0
        self._gathered: list[Arrival] = []

    @property
    def rows(self) -> int:
        """Examples that wait."""
        return self._rows

    def gather(self, timeout_ms: int) -> bool:
        """Let messages wait, up to a micro-batch; whether any came within the time."""
        before = len(self.waiting)
        self.reader.fill(timeout_ms)
        while self._rows < ROWS and (message := self.reader.take()) is not None:
            self.waiting.append(arrival(message))
            self._rows += self.waiting[-1].rows
        return len(self.waiting) > before

    def live(self, timeout_ms: int) -> list[Arrival]:
        """The next micro-batch: what is there, and nothing if nothing comes within the time."""
        if self._rows < ROWS:
            self.gather(0 if self.waiting else timeout_ms)
        taken: list[Arrival] = []
        rows = 0
        while self.waiting and (not taken or rows + self.waiting[0].rows <= ROWS):
            by_itself = self.waiting[0].offset <= self._alone.get(self.waiting[0].partition, -1)
            if taken and by_itself:
                break
            taken.append(self.waiting.popleft())
            rows += taken[-1].rows
            if by_itself:
                break
        self._rows -= rows
        return taken

    def put_back(self, arrivals: Sequence[Arrival]) -> None:
        """What was handed out comes next again."""
        self.waiting.extendleft(reversed(arrivals))
        self._rows += sum(one.rows for one in arrivals)

    def followed(self, timeout_ms: int) -> tuple[Line, list[Arrival]] | None:
        """The micro-batch of the next line, or nothing if it is not there in time. Raises InputError."""
        line = self.lines[0]
        at = {one.partition: one.offset for one in self._gathered}
        for partition, last in line.runs:
            while at.get(partition, -1) < last:
                message = self.reader.take(partition)
                if message is None:
                    if not self.reader.fill(timeout_ms):
                        return None
                    continue
                if message.offset > last:
                    raise InputError(
                        f"{self.reader.topic}/{partition}: expected offset {last}, which was learned after "
                        f"the checkpoint, got {message.offset}: messages are gone; begin again with "
                        "another --checkpoint"
                    )
                self._gathered.append(arrival(message))
                at[partition] = message.offset
        self.lines.popleft()
        taken, self._gathered = self._gathered, []
        return line, taken


def runs(arrivals: Sequence[Arrival]) -> list[tuple[int, int]]:
    """Partition and last offset of each run of messages from one partition."""
    ends: list[tuple[int, int]] = []
    for message in arrivals:
        if ends and ends[-1][0] == message.partition:
            ends.pop()
        ends.append((message.partition, message.offset))
    return ends
