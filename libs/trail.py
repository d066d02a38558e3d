"""The frames that a direction of propagation has just passed, as memory for those that follow.

Between annotated frames appearance changes step by step (growth, turning, light), and a frame passed a moment ago
resembles the next one more than any annotated frame does.  Seven real sequences, true masks on the middle frame, a
network that was not yet trained for it: J .70 without, .73 with.
"""

from __future__ import annotations

from collections.abc import Sequence

from networks.interface import MemoryEntry


class Trail:
    """The latest `limit` of every `every`-th frame of one direction; it ends with the direction.

    Objects that share their annotated frames are propagated together and have entries of their own; mostly these are
    all the objects, and only one that was added later stands apart.
    """

    def __init__(self, limit: int, every: int) -> None:
        self.limit, self.every = limit, every
        self._passed = 0
        self._entries: dict[tuple[int, ...], list[MemoryEntry]] = {}

    def entries(self, object_ids: Sequence[int]) -> list[MemoryEntry]:
        """What these objects' next frame reads besides the annotated frames."""
        return self._entries.get(tuple(object_ids), [])

    def passes(self) -> bool:
        """Count one more frame; True if it is to be remembered."""
        self._passed += 1
        return self.limit > 0 and self._passed % self.every == 0

    def add(self, object_ids: Sequence[int], entry: MemoryEntry | None) -> None:
        """Remember a frame; the oldest beyond the limit is forgotten.  `None` changes nothing."""
        if entry is not None:
            key = tuple(object_ids)
            self._entries[key] = [*self._entries.get(key, []), entry][-self.limit :]
