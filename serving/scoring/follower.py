"""A catalogue that follows what is published."""

from serving.scoring.catalogue import ServedCatalogue
from state.errors import InputError
from state.store.contract import EmbeddingStore, Pointer
from state.store.kept import NEWEST
from state.store.versions import NOWHERE


class Follower:
    """What a store has of a run, as of the newest version: read whole once, then what has changed.

    For one thread at a time: a catalogue is brought up to date in place. Raises InputError where nothing was
    published.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        pointer = store.pointer()
        info = store.info(pointer.at)
        if info is None:
            raise InputError(f"{store}: nothing was published under this name; replay a log into it first")
        self._store = store
        self.info = info
        self.at = pointer.at
        """Which version is read: the newest, or one that was kept; rows that go with it are of that one."""
        self._told, self._moved, self._position = pointer.told, (-1, b""), NOWHERE
        self._catalogue: ServedCatalogue | None = None

    @property
    def held(self) -> ServedCatalogue:
        """As it was at the last call of `catalogue`."""
        return self.catalogue() if self._catalogue is None else self._catalogue

    @property
    def version(self) -> int:
        """Of what is held; 0 before anything is."""
        return max(self._moved[0], 0)

    def name(self, key: int) -> str:
        """The id of an item by its key, as far as it is known."""
        row = self.held.row_of_id.row_of_key(key)
        return self.info.item_names.get(str(key), str(key)) if row < 0 else self.held.ids[row]

    def look(self) -> Pointer:
        """Bring `info` up to date; where readers are pointed."""
        pointer = self._store.pointer()
        if pointer.told != self._told:
            self.info = self._store.info(pointer.at) or self.info
            self._told = pointer.told
            if self._catalogue is not None:
                self._catalogue.weigh(self.info.copy)
        return pointer

    def catalogue(self) -> ServedCatalogue:
        """All of the version that readers are pointed at, and of no other. Raises as `items` does."""
        pointer = self.look()
        moved = (pointer.version, pointer.moved)
        if self._catalogue is None or moved != self._moved:
            if pointer.at != NEWEST:
                made, self._position = ServedCatalogue(self._store.items(pointer.at), self.info.copy), NOWHERE
            else:
                made, moved = self._followed(moved)
            self._catalogue, self._moved, self.at = made, moved, pointer.at
        return self._catalogue

    def _followed(self, moved: tuple[int, bytes]) -> tuple[ServedCatalogue, tuple[int, bytes]]:
        """The newest version, and the move to it: what is held with what has changed since, or all anew.

        Where the feed does not tell, what is read may be newer than the move that was seen before.
        """
        for held in (self._catalogue, None):
            position = self._position if held else self._store.position("items")
            made = held or ServedCatalogue(self._store.items(), self.info.copy)
            changes = self._store.changes("items", position)
            if changes is not None and made.take(changes):
                self._position = changes.position
                return made, changes.as_of
        self._position = position
        return made, moved
