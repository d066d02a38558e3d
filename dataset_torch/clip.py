"""A clip: the unit every training data set hands out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Clip:
    """A few frames of one video with the mask of every frame.

    Args:
        frames: uint8 T x H x W x 3, RGB.
        masks: uint8 T x H x W of object ids, 0 is background.  255 is no id: what is void in a data set, and what an
            object that is written so, is decided before.
        object_ids: the ids of the objects to segment, ascending; ids in `masks` are a subset of these and 0.  An object
            may be absent from any frame, but not from all of them.
        name: where the clip comes from, for messages.

    Raises:
        ValueError: a shape, a dtype or an id contradicts the above.
    """

    frames: np.ndarray
    masks: np.ndarray
    object_ids: tuple[int, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] != 3:
            raise ValueError(
                f"{self.name}: frames are {self.frames.dtype} {self.frames.shape}, not uint8 T x H x W x 3"
            )
        if self.masks.dtype != np.uint8 or self.masks.shape != self.frames.shape[:3]:
            raise ValueError(
                f"{self.name}: masks are {self.masks.dtype} {self.masks.shape}, frames {self.frames.shape}"
            )
        found = np.flatnonzero(np.bincount(self.masks.reshape(-1), minlength=256)[1:]) + 1
        if 255 in found:
            raise ValueError(f"{self.name}: the masks hold 255, which is no id")
        if tuple(found) != self.object_ids:
            raise ValueError(f"{self.name}: the masks hold the ids {found.tolist()}, object_ids are {self.object_ids}")

    def __len__(self) -> int:
        return len(self.frames)
