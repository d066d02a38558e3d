"""Pictures read from disk when they are needed, of which the latest are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from dataset_torch.synthetic.pictures import Sprite

Value = TypeVar("Value")
LIMIT = 600 * 2**20  # bytes; some 250 photographs with their pyramids


class PictureCache:
    """Keeps what was used last, up to `limit` bytes of pixels; the most recent entry is always kept.

    A copy sent to another process starts out empty.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key`, by `make()` if it is not kept."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]
        value = make()
        size = _bytes(value)
        self._entries[key] = (value, size)
        self.size += size
        while self.size > self.limit and len(self._entries) > 1:
            self.size -= self._entries.popitem(last=False)[1][1]
        return value

    def __getstate__(self) -> int:
        return self.limit

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)


def _bytes(value: Any) -> int:
    """Bytes of the arrays in nested lists, tuples and sprites."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Sprite):
        return _bytes(value.pyramid)
    if isinstance(value, (list, tuple)):
        return sum(_bytes(part) for part in value)
    return 0
