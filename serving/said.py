"""Answers as JSON: of `ebbtide query --json` and of `ebbtide serve`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from serving.answers import ItemAnswer, RecommendAnswer, SimilarAnswer, UserAnswer
from serving.item_facts import ItemsAnswer
from serving.reasons import iso
from serving.remembered import MemoryAnswer
from state.store.contract import EmbeddingStore

Answer = UserAnswer | ItemAnswer | RecommendAnswer | SimilarAnswer | MemoryAnswer | ItemsAnswer
ANSWERS = (UserAnswer, ItemAnswer, RecommendAnswer, SimilarAnswer, MemoryAnswer, ItemsAnswer)


def versions_of(store: EmbeddingStore) -> dict[str, Any]:
    """Which version readers are served, which is the newest, and which are kept, as JSON."""
    kept = [
        {
            "version": one.version,
            "note": one.facts.note,
            "made": iso(one.facts.made_ms),
            "clock": None if one.facts.clock_ms is None else iso(one.facts.clock_ms),
            "bytes": one.nbytes,
            "served": one.served,
        }
        for one in store.kept()
    ]
    return {"version": store.pointer().version, "newest": store.version(), "kept": kept}


def json_of(answer: Answer) -> dict[str, Any]:
    """The answer as what `json.dumps` takes."""
    return asdict(answer)


def encoded(answer: Answer | Mapping[str, object] | Sequence[object]) -> bytes:
    """An answer as JSON; in ASCII where an id is no text that UTF-8 has."""
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:
        return json.dumps(json_of(answer) if isinstance(answer, ANSWERS) else answer).encode()
