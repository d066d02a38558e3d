"""What a user gives on a frame: scribbles, clicks, or a finished mask."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataset_torch.errors import UserError

MAX_OBJECT_ID = 254  # ids are stored in 8 bits; 255 is the void label of several data sets


@dataclass(frozen=True, eq=False)
class Scribble:
    """One stroke.

    `points` float64 k x 2, (x, y) as fractions of the frame's width and height, in [0, 1], k >= 1; consecutive points
    are joined.  `object_id` 0 means background.  The points are copied, and cannot be changed afterwards.
    """

    object_id: int
    points: np.ndarray

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise UserError(f"a scribble needs k x 2 points (x, y), got an array of shape {points.shape}.")
        _check_coordinates(points, "scribble")
        points.setflags(write=False)
        object.__setattr__(self, "object_id", whole_number(self.object_id, "an object id"))
        object.__setattr__(self, "points", points)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scribble):
            return NotImplemented
        return self.object_id == other.object_id and np.array_equal(self.points, other.points)

    def __hash__(self) -> int:
        return hash((self.object_id, self.points.tobytes()))


@dataclass(frozen=True)
class Click:
    """One click at (x, y), fractions of width and height in [0, 1]; `object_id` 0 means background."""

    object_id: int
    x: float
    y: float

    def __post_init__(self) -> None:
        _check_coordinates(np.array([[self.x, self.y]], dtype=np.float64), "click")
        object.__setattr__(self, "object_id", whole_number(self.object_id, "an object id"))
        object.__setattr__(self, "x", float(self.x))
        object.__setattr__(self, "y", float(self.y))


@dataclass(frozen=True, eq=False)
class FrameAnnotation:
    """All that one round gives on one frame.

    `mask`, uint8 H x W of object ids at the frame's original size, is taken as the frame's finished segmentation
    (an imported annotation); scribbles and clicks are hints to the interaction network.  The mask is copied, and
    cannot be changed afterwards.
    """

    frame: int
    scribbles: tuple[Scribble, ...] = ()
    clicks: tuple[Click, ...] = ()
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", whole_number(self.frame, "a frame's number"))
        object.__setattr__(self, "scribbles", tuple(self.scribbles))
        object.__setattr__(self, "clicks", tuple(self.clicks))
        if self.mask is not None:
            mask = np.array(self.mask)
            mask.setflags(write=False)
            object.__setattr__(self, "mask", mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameAnnotation):
            return NotImplemented
        if (self.mask is None) != (other.mask is None):
            return False
        same_mask = self.mask is None or np.array_equal(self.mask, other.mask)
        return same_mask and (self.frame, self.scribbles, self.clicks) == (other.frame, other.scribbles, other.clicks)

    def __hash__(self) -> int:
        mask = None if self.mask is None else self.mask.tobytes()
        return hash((self.frame, self.scribbles, self.clicks, mask))

    def without(self, object_ids: Collection[int]) -> FrameAnnotation:
        """The same without the strokes and clicks of these objects."""
        return replace(
            self,
            scribbles=tuple(s for s in self.scribbles if s.object_id not in object_ids),
            clicks=tuple(c for c in self.clicks if c.object_id not in object_ids),
        )

    @property
    def is_empty(self) -> bool:
        """Nothing was given at all."""
        return not self.scribbles and not self.clicks and self.mask is None

    @property
    def object_ids(self) -> set[int]:
        """Every id that occurs, background (0) included."""
        ids = {s.object_id for s in self.scribbles} | {c.object_id for c in self.clicks}
        return ids | ({int(i) for i in np.unique(self.mask)} if self.mask is not None else set())


def whole_number(value: object, what: str) -> int:
    """`value` as Python's `int`, also if it is NumPy's or a tensor's; `UserError` if it is no whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise UserError(f"{what} must be a whole number, got {value!r}.") from None


def _check_coordinates(points: np.ndarray, what: str) -> None:
    if not np.isfinite(points).all():
        raise UserError(f"a {what} has a coordinate that is not a finite number. Coordinates are fractions in [0, 1].")
    if points.min() < 0 or points.max() > 1:
        worst = points.flat[np.argmax(np.abs(points - 0.5))]
        raise UserError(
            f"a {what} has the coordinate {worst:g}, outside [0, 1]. Coordinates are fractions "
            "of the frame's width and height, not pixels."
        )


def annotations_from_davis(
    scribbles: dict, *, num_frames: int, object_ids: Sequence[int] | None = None
) -> list[FrameAnnotation]:
    """Read the scribble dictionary of DAVIS (`{"sequence", "scribbles": [one list per frame]}`).

    Returns one `FrameAnnotation` per frame that has strokes, in order of frames.  Paths of no points are dropped.
    Raises `UserError` for a wrong number of frames, a stroke without path or object id, coordinates outside [0, 1],
    or an id that is neither 0 nor in `object_ids` (unchecked when `None`).
    """
    frames = scribbles.get("scribbles") if isinstance(scribbles, dict) else None
    if not isinstance(frames, list):
        raise UserError('scribbles must be a dictionary with a list "scribbles" of one list of strokes per frame.')
    if len(frames) != num_frames:
        raise UserError(
            f"the scribbles of {scribbles.get('sequence', 'this sequence')} cover {len(frames)} frames, the video has "
            f"{num_frames}. They belong to another video or another release of the data set."
        )
    allowed = None if object_ids is None else {0, *object_ids}
    annotations = []
    for frame, lines in enumerate(frames):
        strokes = []
        for line in lines:
            if not isinstance(line, dict) or "path" not in line or "object_id" not in line:
                raise UserError(f'frame {frame}: a stroke needs "path" and "object_id", got {str(line)[:80]}.')
            object_id = int(line["object_id"])
            if allowed is not None and object_id not in allowed:
                raise UserError(
                    f"frame {frame}: a stroke names object {object_id}, but the objects are {sorted(allowed - {0})}."
                )
            if len(line["path"]):
                strokes.append(Scribble(object_id, np.asarray(line["path"], dtype=np.float64)))
        if strokes:
            annotations.append(FrameAnnotation(frame, tuple(strokes)))
    return annotations
