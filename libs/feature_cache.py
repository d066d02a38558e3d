"""Frame features within a budget of bytes, so that a frame is encoded once for all objects and rounds."""

from __future__ import annotations

import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from networks.interface import FrameFeatures, MemoryEntry

Spill = Literal["none", "memory", "disk"]


class FeatureCache:
    """Frame features by frame number; beyond the budget the least recently used go first.

    The features of a 480x854 frame are 34 MB in the published network and 6 MB in the compact one, so the budget
    decides how much is encoded again in the next round.  A round visits frames in an order known beforehand: `plan`
    tells it, and frames that are still to come are dropped last.  Without that, a video longer than the budget would
    push out every frame shortly before it is needed.

    With `spill`, dropped features go in half precision to CPU memory or to a file in a temporary folder, within
    `spill_bytes`, and are read back instead of encoded again.  This rounds them (relative error up to 5e-4).

    Frames that were encoded in one batch share its memory, which is free when the last of them is dropped; as they
    follow each other, that is soon after the first.

    With the features goes what the frame read from the annotated frames (`read`): in the next round all but the newest
    annotated frame are the same.  So does what comparing it with a neighbour gave (`put_beside`).  Both count towards
    the budget and are dropped with the features, never spilled.
    """

    def __init__(self, budget_bytes: int, *, spill: Spill = "none", spill_bytes: int = 0):
        self.budget_bytes = budget_bytes
        self.bytes = 0
        self._items: OrderedDict[int, FrameFeatures] = OrderedDict()
        self._readings: dict[int, list[_Reading]] = {}  # of frames in `_items` only
        self._compared: dict[int, dict[int, dict[str, Tensor]]] = {}  # frame in `_items` -> neighbour -> more fields
        self._coming: dict[int, None] = {}  # frames of the present round that are not visited yet, in order
        self._spilled = None if spill == "none" or not spill_bytes else _Spilled(spill_bytes, disk=spill == "disk")

    def plan(self, frames: Iterable[int]) -> None:
        """The frames that will be asked for next, in this order; a new plan replaces the old one."""
        self._coming = dict.fromkeys(frames)

    def get(self, frame: int, encode: Callable[[int], FrameFeatures]) -> FrameFeatures:
        """The features of `frame`, encoded now if they are not kept.  The newest is kept whatever the budget."""
        self._coming.pop(frame, None)
        if frame in self._items:
            self._items.move_to_end(frame)
            return self._items[frame]
        features = self._spilled.read(frame) if self._spilled is not None else None
        if features is None:
            features = encode(frame)
        self.put(frame, features)
        return features

    def put(self, frame: int, features: FrameFeatures) -> None:
        """Keep the features of `frame`, dropping others beyond the budget."""
        if frame in self._items:
            self._forget_rest(frame)
            self.bytes -= self._items.pop(frame).nbytes
        self._items[frame] = features
        self.bytes += features.nbytes
        self._shrink(newest=frame)

    def read(
        self, frame: int, entries: Sequence[MemoryEntry], read: Callable[[MemoryEntry], MemoryEntry]
    ) -> list[MemoryEntry]:
        """What `frame` reads from each of these entries, read now if it is not kept from an earlier round.

        To be called after `get`, with all entries that the frame needs: what it read from others (undone, replaced, or
        too far away by now) is forgotten.  An entry is known by its identity, for entries never change; a reading that
        is the entry itself is not kept.
        """
        known = {id(entry): r.content for entry in entries for r in self._readings.get(frame, ()) if r.is_of(entry)}
        for entry in entries:
            if id(entry) not in known:
                known[id(entry)] = read(entry)
        if frame in self._items:
            self._forget_readings(frame)
            distinct = {id(entry): entry for entry in entries}.values()
            kept = [_Reading(weakref.ref(e), known[id(e)]) for e in distinct if known[id(e)] is not e]
            if kept:
                self._readings[frame] = kept
                self.bytes += sum(r.content.nbytes for r in kept)
                self._shrink(newest=frame)
        return [known[id(entry)] for entry in entries]

    def beside(self, frame: int, neighbour: int) -> FrameFeatures | None:
        """The features of `frame` with what `put_beside` was given for this neighbour; `None` if that is not kept."""
        more = self._compared.get(frame, {}).get(neighbour)
        return None if more is None else replace(self._items[frame], **more)

    def put_beside(self, frame: int, neighbour: int, compared: FrameFeatures) -> None:
        """Keep the fields by which `compared` goes beyond the features of `frame`, if those are kept."""
        if frame not in self._items:
            return
        known = self._items[frame].tensors()
        more = {name: tensor for name, tensor in compared.tensors().items() if name not in known}
        if more:
            beside = self._compared.setdefault(frame, {})
            self.bytes += _size(more) - _size(beside.get(neighbour, {}))
            beside[neighbour] = more
            self._shrink(newest=frame)

    def _forget_rest(self, frame: int) -> None:
        """All that is kept with the features of a frame."""
        self._forget_readings(frame)
        self.bytes -= sum(_size(more) for more in self._compared.pop(frame, {}).values())

    def _forget_readings(self, frame: int) -> None:
        self.bytes -= sum(r.content.nbytes for r in self._readings.pop(frame, ()))

    def _shrink(self, newest: int) -> None:
        while self.bytes > self.budget_bytes and len(self._items) > 1:
            self._drop(self._next_to_go(newest=newest))
        if self.bytes > self.budget_bytes:  # only the newest is left, and its readings alone may be too much
            self._forget_rest(newest)

    def _next_to_go(self, newest: int) -> int:
        """Least recently used among those that this round does not need any more, else the one that it needs last."""
        for frame in self._items:
            if frame not in self._coming and frame != newest:
                return frame
        return next(f for f in reversed(self._coming) if f in self._items and f != newest)

    def _drop(self, frame: int) -> None:
        self._forget_rest(frame)
        features = self._items.pop(frame)
        self.bytes -= features.nbytes
        if self._spilled is not None:
            self._spilled.write(frame, features)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._readings.clear()
        self._compared.clear()
        self._coming.clear()
        self.bytes = 0
        if self._spilled is not None:
            self._spilled.clear()

    def __contains__(self, frame: int) -> bool:
        """Whether `get` would not have to encode this frame."""
        return frame in self._items or (self._spilled is not None and frame in self._spilled)

    def __len__(self) -> int:
        return len(self._items)


@dataclass(frozen=True)
class _Reading:
    """What a frame read from an entry.  The entry is not kept alive, so its identity must be checked."""

    entry: weakref.ref[MemoryEntry]
    content: MemoryEntry

    def is_of(self, entry: MemoryEntry) -> bool:
        return self.entry() is entry


@dataclass(frozen=True)
class _Entry:
    """Spilled features: the tensors themselves or the file they are in, and what they were before."""

    kind: type[FrameFeatures]
    content: dict[str, Tensor] | Path
    origin: dict[str, tuple[torch.dtype, torch.device]]
    nbytes: int


class _Spilled:
    """Features in half precision, in CPU memory or on disk; the oldest go first."""

    def __init__(self, limit_bytes: int, *, disk: bool):
        self.limit_bytes, self.bytes = limit_bytes, 0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        # The folder and its files go with this object, at the latest when the program ends.
        self._folder = tempfile.TemporaryDirectory(prefix="gis-features-") if disk else None

    def write(self, frame: int, features: FrameFeatures) -> None:
        if frame in self._entries:  # written before: what was read back from there has not changed since
            self._entries.move_to_end(frame)
            return
        tensors = features.tensors()
        small = {name: _halved(tensor) for name, tensor in tensors.items()}
        nbytes = sum(t.numel() * t.element_size() for t in small.values())
        content: dict[str, Tensor] | Path = small
        if self._folder is not None:
            content = Path(self._folder.name) / f"{frame}.pt"
            torch.save(small, content)
        origin = {name: (t.dtype, t.device) for name, t in tensors.items()}
        self._entries[frame] = _Entry(type(features), content, origin, nbytes)
        self.bytes += nbytes
        while self.bytes > self.limit_bytes and self._entries:
            self._forget(next(iter(self._entries)))

    def read(self, frame: int) -> FrameFeatures | None:
        entry = self._entries.get(frame)
        if entry is None:
            return None
        stored = entry.content
        tensors = torch.load(stored, map_location="cpu", weights_only=True) if isinstance(stored, Path) else stored
        restored = {}
        for name, tensor in tensors.items():
            dtype, device = entry.origin[name]
            restored[name] = tensor.to(device=device, dtype=dtype)
        return entry.kind(**restored)

    def _forget(self, frame: int) -> None:
        entry = self._entries.pop(frame)
        self.bytes -= entry.nbytes
        if isinstance(entry.content, Path):
            entry.content.unlink(missing_ok=True)

    def clear(self) -> None:
        for frame in list(self._entries):
            self._forget(frame)

    def __contains__(self, frame: int) -> bool:
        return frame in self._entries


def _size(tensors: dict[str, Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _halved(tensor: Tensor) -> Tensor:
    """On the CPU in float16, or in its own format if that has no room for its values."""
    tensor = tensor.detach().cpu()
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if torch.isfinite(half).all() else tensor
