"""What is known of items besides their vectors: titles, categories; and finding items by them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from state.store.contract import RunInfo


@dataclass(frozen=True, slots=True)
class ItemFacts:
    item: str
    title: str | None
    columns: dict[str, list[str]]
    """Category column of the item table -> this item's values; the column that tells most apart first."""


@dataclass(frozen=True, slots=True)
class ItemsAnswer:
    items: list[ItemFacts]


class Facts:
    """Of one `RunInfo`; what takes a pass over it is made when it is first asked for."""

    def __init__(self, info: RunInfo) -> None:
        self.info = info

    def of(self, item: str) -> ItemFacts:
        """All that is known of an item; of one that nobody knows, nothing."""
        return ItemFacts(item, self.info.titles.get(item), self._columns.get(item, {}))

    def found(self, words: str, k: int, held: Mapping[str, int]) -> list[str]:
        """Up to k of the `held` items: all of whose words are in the title or the id, regardless of case.

        The item of that id first, then those whose title begins so, then what is popular, then the order of
        ids. Without words: what is popular.
        """
        wanted = words.casefold().split()
        popular = [item for item, _ in self.info.popular if item in held]
        if not wanted:
            return list(dict.fromkeys([*popular, *held]))[:k] if len(popular) < k else popular[:k]
        place = {item: place for place, item in enumerate(popular)}
        whole = " ".join(wanted)
        fits = [item for item in held if all(word in self._called(item) for word in wanted)]

        def order(item: str) -> tuple[bool, bool, int]:
            begins = self._called(item).startswith(whole)
            return item != words.strip(), not begins, place.get(item, len(place))

        return sorted(fits, key=order)[:k]

    def _called(self, item: str) -> str:
        return self._texts.get(item) or item.casefold()

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {item: f"{title} {item}".casefold() for item, title in self.info.titles.items()}

    @cached_property
    def _columns(self) -> dict[str, dict[str, list[str]]]:
        made: dict[str, dict[str, list[str]]] = {}
        for column, values in sorted(self.info.columns.items(), key=lambda one: -len(one[1])):
            for value, items in values.items():
                for item in items:
                    made.setdefault(item, {}).setdefault(column, []).append(value)
        return made


def items_answer(facts: Facts, items: Sequence[str]) -> ItemsAnswer:
    return ItemsAnswer([facts.of(item) for item in items])
