"""What a session keeps of every frame: its prediction, in few bytes."""

from __future__ import annotations

import threading
import weakref
import zlib
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

StorageFormat = Literal["float32", "uint16", "uint8"]
# Of fixed-point numbers that wait to be deflated: 450 frames of 288x512 with one object.  Deflating and inflating one
# takes 2 to 3 ms each, of 40 to 60 that all else takes, and most frames are replaced within some rounds.
RECENT_BYTES = 128 << 20
FORGOTTEN = 0  # stands in `Prediction.object_ids` for an object that was removed; no object has this id


@dataclass(frozen=True)
class Prediction:
    """Probabilities of one frame, packed; immutable, so that sessions share them between snapshots.

    `float32` keeps every bit.  `uint16` and `uint8` keep the objects in fixed point (steps of 1/65535 or 1/255; the
    background is what remains to 1), take differences between neighbouring pixels and deflate those: a 480x854 frame
    with three objects takes 0.4 MB where the network is everywhere a little undecided, and tens of kilobytes where most
    pixels are certain, instead of 7 MB.  They are deflated when `RECENT_BYTES` of newer ones exist, or `data` is asked
    for.  At `uint16` an object's probability moves by at most 8e-6, the
    background's by that times the number of objects: the size of the noise of another thread count.
    """

    object_ids: tuple[int, ...]
    size: tuple[int, int]  # padded height and width
    format: StorageFormat
    data: bytes = field(repr=False)

    @classmethod
    def pack(cls, probabilities: Tensor, object_ids: tuple[int, ...], storage: StorageFormat) -> Prediction:
        """`probabilities` (1 + O) x H x W in [0, 1], channel 0 the background, summing to 1."""
        array = probabilities.detach().float().cpu().numpy()
        size = (array.shape[1], array.shape[2])
        if storage == "float32":
            return cls(object_ids, size, storage, array.tobytes())
        fixed = (array[1:] * np.float32(np.iinfo(storage).max) + np.float32(0.5)).astype(storage)
        return _FixedPrediction(object_ids, size, storage, _RECENT.add(fixed))

    def without(self, object_id: int) -> Prediction:
        """The same data with one object forgotten: `unpack` gives its share to the background.  Costs nothing."""
        ids = tuple(FORGOTTEN if i == object_id else i for i in self.object_ids)
        return replace(self, object_ids=ids)

    def unpack(self, object_ids: tuple[int, ...] | None = None) -> Tensor:
        """(1 + O) x H x W float32 for `object_ids` (default: those it was made with).

        An object that the prediction does not know has probability 0; one that is no longer asked for goes to the
        background, so that the channels always sum to 1.
        """
        height, width = self.size
        count = len(self.object_ids)
        if self.format == "float32":
            array = np.frombuffer(self.data, np.float32).reshape(1 + count, height, width)
            own = torch.from_numpy(array.copy())
        else:
            levels = np.iinfo(self.format).max
            fixed = self._fixed_point().astype(np.int32)
            background = np.maximum(levels - fixed.sum(axis=0, keepdims=True), 0)
            own = torch.from_numpy(np.concatenate([background, fixed]).astype(np.float32) / np.float32(levels))
        if object_ids is None or object_ids == self.object_ids:
            return own
        out = torch.zeros(1 + len(object_ids), height, width)
        out[0] = own[0]
        for channel, object_id in enumerate(self.object_ids, 1):
            target = object_ids.index(object_id) + 1 if object_id in object_ids else 0
            out[target] += own[channel]
        return out

    def _fixed_point(self) -> np.ndarray:
        """O x H x W of uint16 or uint8, not to be changed."""
        return _inflate(self.data, (len(self.object_ids), *self.size), np.dtype(self.format).type)


class _Fixed:
    """Fixed-point numbers, O x H x W, as they are or deflated; the numbers themselves never change."""

    def __init__(self, array: np.ndarray):
        self._array: np.ndarray | None = array
        self._deflated: bytes | None = None

    def deflate(self) -> bytes:
        """The deflated bytes; the array goes."""
        array = self._array
        if array is not None:
            self._deflated = _deflate(array)  # before the array goes: another thread may be about to read it
            self._array = None
        return self._deflated

    def array(self) -> np.ndarray | None:
        """The array, if it was not deflated yet."""
        return self._array


class _Recent:
    """Deflates the oldest arrays when there are more than so many bytes of newer ones."""

    def __init__(self, limit_bytes: int):
        self.limit_bytes = limit_bytes
        self._bytes = 0
        # Those that nobody holds any more still count here, until they are the oldest; then they cost nothing.
        self._items: deque[tuple[weakref.ref[_Fixed], int]] = deque()
        self._lock = threading.Lock()

    def add(self, array: np.ndarray) -> _Fixed:
        """`array` O x H x W of uint16 or uint8, not to be changed any more; older ones may be deflated now."""
        fixed, old = _Fixed(array), []
        with self._lock:
            self._items.append((weakref.ref(fixed), array.nbytes))
            self._bytes += array.nbytes
            while self._bytes > self.limit_bytes:
                reference, nbytes = self._items.popleft()
                self._bytes -= nbytes
                old.append(reference())
        for one in old:
            if one is not None:
                one.deflate()
        return fixed


_RECENT = _Recent(RECENT_BYTES)


class _FixedPrediction(Prediction):
    """A `Prediction` that is deflated later, or never."""

    def __init__(self, object_ids: tuple[int, ...], size: tuple[int, int], format: StorageFormat, fixed: _Fixed):
        for name, value in (("object_ids", object_ids), ("size", size), ("format", format), ("fixed", fixed)):
            object.__setattr__(self, name, value)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The packed bytes; deflated now if they were not yet."""
        return self.fixed.deflate()

    def without(self, object_id: int) -> _FixedPrediction:
        """The same numbers with one object forgotten."""
        ids = tuple(FORGOTTEN if i == object_id else i for i in self.object_ids)
        return _FixedPrediction(ids, self.size, self.format, self.fixed)

    def _fixed_point(self) -> np.ndarray:
        array = self.fixed.array()
        return super()._fixed_point() if array is None else array


def _deflate(fixed: np.ndarray) -> bytes:
    """O x H x W of uint16 or uint8, losslessly; `fixed` is not needed afterwards.

    Probabilities are smooth (networks upsample them), so the mixed second difference is mostly near 0.  Differences
    wrap round; 128 is added, so that the small negative ones have the same high byte as the small positive ones.
    """
    rows = fixed.copy()
    rows[:, :, 1:] -= fixed[:, :, :-1]
    both = rows.copy()
    both[:, 1:] -= rows[:, :-1]
    if both.dtype == np.uint16:  # high bytes first, then low ones: each half deflates better than the two mixed
        both += 128
        both = np.stack([(both >> 8).astype(np.uint8), (both & 255).astype(np.uint8)])
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(both.tobytes()) + packer.flush()


def _inflate(data: bytes, shape: tuple[int, int, int], kind: type[np.unsignedinteger]) -> np.ndarray:
    """What `_deflate` was given."""
    raw = np.frombuffer(zlib.decompress(data), np.uint8)
    if kind is np.uint16:
        high, low = raw.reshape(2, *shape)
        fixed = (high.astype(np.uint16) << np.uint16(8)) | low
        fixed -= np.uint16(128)
    else:
        fixed = raw.reshape(shape).copy()
    np.cumsum(fixed, axis=1, dtype=kind, out=fixed)
    np.cumsum(fixed, axis=2, dtype=kind, out=fixed)
    return fixed
