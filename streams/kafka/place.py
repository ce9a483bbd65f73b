"""Where reading goes on, and what was lost: from what the broker has of a partition now."""

from typing import NamedTuple

import msgspec

from state.progress import Progress


class Span(NamedTuple):
    """What the broker has of one partition."""

    topic_id: str | None
    """Another one where the topic was made anew; None where the broker gives none."""
    oldest: int
    end: int
    """Before which the newest message lies, committed or not."""


def followed(progress: Progress, span: Span, read_to: int) -> Progress:
    """Where a partition goes on; `read_to` is what was read next before somebody looked at `span`.

    Where the topic was made anew, that is at its beginning; where it has lost its end, behind what is left;
    where the broker has deleted what was to be read, behind that; else where it was left.
    """
    known = progress.topic_id
    progress = msgspec.structs.replace(progress, topic_id=span.topic_id or known)
    told = known is not None and span.topic_id is not None
    if told and known != span.topic_id:
        return _remade(progress, span.oldest)
    if span.end < read_to:
        return _remade(progress, span.end if told else span.oldest)
    return lost(progress, span.oldest) if span.oldest > progress.next else progress


def lost(progress: Progress, end: int) -> Progress:
    """Go on at the broker's offset `end`: what was to be read before it is gone.

    A partition that was never read begins there, and has lost nothing.
    """
    assert end > progress.next
    moved = msgspec.structs.replace(progress, offset=end + progress.base - 1)
    if progress.offset < 0:
        return moved
    count = progress.lost + end - progress.next
    return msgspec.structs.replace(moved, lost=count, lost_last=(progress.next, end - 1))


def _remade(progress: Progress, first: int) -> Progress:
    return msgspec.structs.replace(progress, base=progress.offset + 1 - first, remade=progress.remade + 1)
