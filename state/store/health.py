"""What a server says of itself that stands in the way of holding what it is given."""

from typing import Any, NamedTuple

KEEPS_ALL = "noeviction"
"""The one maxmemory-policy under which nothing that was published goes."""


class Flaw(NamedTuple):
    """Why a server does not hold what it is given."""

    said: str
    """In one sentence, with the cure."""
    closed: bool
    """Whether it takes nothing at all."""


def flaws_of(said: dict[str, Any], shown: str) -> list[Flaw]:
    """By what it answers to INFO; `shown` is how it is called."""
    found = []
    used, most, policy = said.get("used_memory", 0), said.get("maxmemory", 0), policy_of(said)
    if said.get("loading"):
        what = "is still reading its data from disk; it answers when that is done"
        found.append(Flaw(f"{shown}: {what}", closed=True))
    if said.get("role") == "slave":
        master = f"{said.get('master_host')}:{said.get('master_port')}"
        what = f"is a replica of {master}, which takes no writes; name that one, or REPLICAOF NO ONE here"
        found.append(Flaw(f"{shown}: {what}", closed=True))
    if most and used >= most and policy == KEEPS_ALL:
        what = f"is full ({used / 1e6:,.1f} MB used, maxmemory {most / 1e6:,.1f} MB); give it more"
        found.append(Flaw(f"{shown}: {what}", closed=True))
    if policy not in (KEEPS_ALL, None):
        what = (
            f"may evict what it holds, all users of a run at once (maxmemory-policy {policy}); "
            f"CONFIG SET maxmemory-policy {KEEPS_ALL}"
        )
        found.append(Flaw(f"{shown}: {what}", closed=False))
    return found


def policy_of(said: dict[str, Any]) -> str | None:
    """What becomes of keys when the server is full; None if it won't say."""
    policy = said.get("maxmemory_policy")
    return None if policy is None else str(policy)
