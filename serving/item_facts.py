"""What is known of items besides their vectors: titles, categories; and finding items by them."""

from collections import defaultdict
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
        columns: dict[str, list[str]] = {}
        for column, value in self._columns.get(item, ()):
            columns.setdefault(column, []).append(value)
        return ItemFacts(item, self.info.titles.get(item), columns)

    def renewed(self, info: RunInfo) -> "Facts":
        """The same of what is said now; what has not changed is not made again."""
        made = Facts(info)
        if "_columns" in self.__dict__ and info.columns == self.info.columns:
            made._columns = self._columns
        if "_texts" in self.__dict__ and info.titles == self.info.titles:
            made._texts = self._texts
        return made

    def search(self, words: str, k: int, held: Mapping[str, int]) -> list[str]:
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
    def _columns(self) -> Mapping[str, list[tuple[str, str]]]:
        """Item -> column and value, the column of most values first."""
        made = defaultdict[str, list[tuple[str, str]]](list)
        for column, values in sorted(self.info.columns.items(), key=lambda one: -len(one[1])):
            for value, items in values.items():
                told = (column, value)
                for item in items:
                    made[item].append(told)
        return made


def items_answer(facts: Facts, items: Sequence[str]) -> ItemsAnswer:
    return ItemsAnswer([facts.of(item) for item in items])
