"""Who answers whom where variants are compared: each has a store, and so a desk, of its own."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from serving.run import Run
from serving.web.desk import Desk
from state.arms import BASE, Arms
from state.store.contract import Kind
from state.store.records import Record


class Answered(NamedTuple):
    """An answer, and the id of the recommendation that it is."""

    body: bytes
    recommendation_id: str


class Variants:
    """The desk of the base, and those of the others."""

    def __init__(self, base: Desk, others: Mapping[str, Desk] | None = None) -> None:
        """Raises InputError on a name that is none."""
        self._arms, self._desks = Arms(others or ()), {**(others or {}), BASE: base}

    @property
    def base(self) -> Desk:
        return self._desks[BASE]

    @property
    def desks(self) -> list[Desk]:
        return [self._desks[name] for name in self._arms.names]

    @property
    def names(self) -> list[str]:
        return self._arms.names

    def of(self, user: str) -> Desk:
        """Who answers this user."""
        return self._desks[self._arms.of(user)]

    def question(self, kind: Kind, identifier: str) -> "asyncio.Future[bytes | None]":
        """As `Desk.question`, of a user's variant, or of the base."""
        desk = self.of(identifier) if kind == "users" else self.base
        return desk.question(kind, identifier)

    async def recommend(self, user: str, question: Callable[[Run, Record | None], bytes]) -> Answered:
        """The answer to one user, by their variant."""
        name = self._arms.of(user)
        body = await self._desks[name].ask_of([user], lambda run, records: question(run, records[0]))
        return Answered(body, self.new_id(name))

    async def recommend_all(
        self, users: Sequence[str], question: Callable[[Run, str, Record | None], bytes]
    ) -> list[bytes]:
        """The answers to several users, in their order: each variant is asked once."""
        body_of: dict[str, bytes] = {}
        for name, desk in self._desks.items():
            mine = [user for user in dict.fromkeys(users) if self._arms.of(user) == name]

            def answered(run: Run, records: list[Record | None], mine: list[str] = mine) -> list[bytes]:
                return [question(run, user, record) for user, record in zip(mine, records, strict=True)]

            if mine:
                body_of |= zip(mine, await desk.ask_of(mine, answered), strict=True)
        return [body_of[user] for user in users]

    def new_id(self, name: str = BASE) -> str:
        """What tells a recommendation from all others; where variants are compared, whose it is, too."""
        made = os.urandom(12).hex()
        return made if len(self.names) == 1 else f"{name}.{made}"

    def states(self) -> list[dict[str, Any]]:
        """Each variant, what it serves, and whether it can."""
        return [
            {"name": name, "store": str(desk.store), "version": desk.version, "ready": desk.ready}
            for name, desk in zip(self.names, self.desks, strict=True)
        ]
