"""Frame features encoded some frames at a time, in the order in which a round asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from networks.interface import FrameFeatures


class BatchEncoder:
    """Encodes a frame that is asked for together with those that will be asked for next; it lives for one round.

    What was encoded too early waits here, not in the cache, whose budget may be too small for a batch: there it would
    push itself out and be encoded again.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[int]], Sequence[FrameFeatures]],
        frames: Sequence[int],
        *,
        together: int,
        needed: Callable[[int], bool] = lambda frame: True,
    ):
        """`encode` gives the features of some frames; `frames` are those of the round in order, repeated where they are
        visited again; at most `together` are encoded at once, and only those that are `needed` (not cached)."""
        self._encode, self._together, self._needed = encode, max(1, together), needed
        self._frames = tuple(frames)
        self._next = 0  # everything before was asked for or encoded
        self._waiting: dict[int, FrameFeatures] = {}

    def take(self, frame: int) -> FrameFeatures:
        """The features of `frame`.  What `encode` raised is raised here."""
        if frame not in self._waiting:
            batch = self._batch(frame)
            self._waiting.update(zip(batch, self._encode(batch), strict=True))
        return self._waiting.pop(frame)

    def _batch(self, frame: int) -> list[int]:
        """`frame` and those that follow it; alone if the round was not going to ask for it."""
        batch = [frame]
        if frame not in self._frames[self._next :]:
            return batch
        position = self._frames.index(frame, self._next) + 1
        while position < len(self._frames) and len(batch) < self._together:
            follower = self._frames[position]
            if follower not in batch and follower not in self._waiting and self._needed(follower):
                batch.append(follower)
            position += 1
        self._next = position
        return batch
