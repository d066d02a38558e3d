"""Frame features encoded some frames at a time, in the order in which a round asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from networks.interface import FrameFeatures


class BatchEncoder:
    """Encodes a frame that is asked for together with those that will be asked for next; it lives for one round.

    What was encoded too early waits here, not in the cache, whose budget may be too small for a batch: there it would
    push itself out and be encoded again.
    """

    def __init__(
        self,
        read: Callable[[int], Tensor],
        encode: Callable[[Sequence[Tensor]], Sequence[FrameFeatures]],
        frames: Sequence[int],
        *,
        together: int,
        needed: Callable[[int], bool] = lambda frame: True,
    ):
        """`read` gives the network's input of a frame, 1 x 3 x H x W, `encode` the features of some such inputs;
        `frames` are those of the round in order, repeated where they are visited again.  At most `together` (1 or more)
        are encoded at once, and only those that are `needed` (not cached)."""
        self._read, self._encode, self._together, self._needed = read, encode, together, needed
        self._frames = tuple(frames)
        self._next = 0  # everything before was asked for or encoded
        self._waiting: dict[int, FrameFeatures] = {}

    def take(self, frame: int) -> FrameFeatures:
        """The features of `frame`.  What reading and encoding it raise is raised here."""
        if frame not in self._waiting:
            inputs = self._inputs(frame)
            self._waiting.update(zip(inputs, self._encode(list(inputs.values())), strict=True))
        return self._waiting.pop(frame)

    def _inputs(self, frame: int) -> dict[int, Tensor]:
        """`frame` and those that follow it; alone if the round was not going to ask for it."""
        inputs = {frame: self._read(frame)}
        try:
            position = self._frames.index(frame, self._next) + 1
        except ValueError:
            return inputs
        while position < len(self._frames) and len(inputs) < self._together:
            follower = self._frames[position]
            if follower not in inputs and follower not in self._waiting and self._needed(follower):
                try:
                    inputs[follower] = self._read(follower)
                except Exception:  # it is raised again when that frame is asked for, after those before it
                    break
            position += 1
        self._next = position
        return inputs
