"""Scribbles and clicks as planes for the interaction network (spec: method.md, section 2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from libs.interactions import Click, FrameAnnotation, Scribble

_STROKE_KERNEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_CLICK_KERNEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))


def line_pixels(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Pixels of the straight line between two pixels, ends included (Bresenham): int k x 2, (x, y)."""
    steps = max(abs(x1 - x0), abs(y1 - y0))
    if steps == 0:
        return np.array([[x0, y0]])
    # Along the longer axis one pixel a step; the other coordinate is rounded half away from the start.
    t = np.arange(steps + 1)
    x = x0 + np.sign(x1 - x0) * ((2 * t * abs(x1 - x0) + steps) // (2 * steps))
    y = y0 + np.sign(y1 - y0) * ((2 * t * abs(y1 - y0) + steps) // (2 * steps))
    return np.stack([x, y], axis=1)


def scribble_pixels(scribble: Scribble, height: int, width: int, *, wrap: bool = False) -> np.ndarray:
    """The pixels of one stroke: int k x 2, (x, y), inside the frame.

    A point is drawn at `round(point * size) - 1`, as the published code indexes.  At the left and upper border that is
    -1, which wrapped round to the far border there; `wrap=True` keeps this for comparing with published numbers, the
    default clamps to 0.
    """
    corners = np.round(scribble.points * (width, height)).astype(np.int64)  # k x 2
    lines = [line_pixels(*a, *b) for a, b in itertools.pairwise(corners)]
    pixels = np.concatenate(lines or [corners]) - 1
    limit = np.array([width, height])
    return pixels % limit if wrap else np.clip(pixels, 0, limit - 1)


def draw_plane(
    scribbles: Iterable[Scribble], clicks: Iterable[Click], height: int, width: int, *, wrap: bool = False
) -> np.ndarray:
    """One plane, float32 H x W in [0, 1]: strokes dilated by a 5x5 ellipse, clicks by a 7x7 one, then both blurred."""
    strokes = np.zeros((height, width), np.uint8)
    points = np.zeros((height, width), np.uint8)
    for scribble in scribbles:
        x, y = scribble_pixels(scribble, height, width, wrap=wrap).T
        strokes[y, x] = 1
    for click in clicks:
        points[min(int(click.y * height), height - 1), min(int(click.x * width), width - 1)] = 1
    if not strokes.any() and not points.any():
        return np.zeros((height, width), np.float32)
    plane = np.maximum(cv2.dilate(strokes, _STROKE_KERNEL), cv2.dilate(points, _CLICK_KERNEL))
    return cv2.GaussianBlur(plane.astype(np.float32), (5, 5), 6)


def interaction_planes(
    annotations: Sequence[FrameAnnotation],
    object_ids: Sequence[int],
    previous_mask: np.ndarray | None,
    height: int,
    width: int,
    *,
    known: Sequence[int] | None = None,
    wrap: bool = False,
    negatives_everywhere: bool = False,
) -> np.ndarray:
    """The three planes of every object: float32 O x 3 x H x W (previous mask, positive, negative), unpadded.

    `annotations` are all that was ever given on this frame.  `previous_mask`, H x W of ids at the planes' size, is
    `None` before the first prediction; `known` lists the ids that it can show (default: all).  An object without a
    previous prediction gets the constant 0.5 and, unless `negatives_everywhere`, an empty negative plane; otherwise
    the negative plane holds the other ids' strokes where the previous mask says this object.
    """
    scribbles = [s for a in annotations for s in a.scribbles]
    clicks = [c for a in annotations for c in a.clicks]
    planes = np.zeros((len(object_ids), 3, height, width), np.float32)
    known = list(object_ids) if known is None else known
    for row, object_id in enumerate(object_ids):
        own = [s for s in scribbles if s.object_id == object_id], [c for c in clicks if c.object_id == object_id]
        others = [s for s in scribbles if s.object_id != object_id], [c for c in clicks if c.object_id != object_id]
        has_previous = previous_mask is not None and object_id in known
        planes[row, 0] = (previous_mask == object_id) if has_previous else 0.5
        planes[row, 1] = draw_plane(*own, height, width, wrap=wrap)
        if negatives_everywhere:
            planes[row, 2] = draw_plane(*others, height, width, wrap=wrap)
        elif has_previous:
            planes[row, 2] = draw_plane(*others, height, width, wrap=wrap) * planes[row, 0]
    return planes


def mask_core_planes(mask: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """Planes for an imported mask: float32 O x 3 x H x W.

    The previous mask is the given one, the positive plane its core (pixels at least half as far from the border as the
    object's innermost pixel), as if the user had stroked every object along its middle; nothing is negative.
    """
    planes = np.zeros((len(object_ids), 3, *mask.shape), np.float32)
    for row, object_id in enumerate(object_ids):
        inside = (mask == object_id).astype(np.uint8)
        planes[row, 0] = inside
        if inside.any():
            bordered = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
            depth = cv2.distanceTransform(bordered, cv2.DIST_L2, 3)[1:-1, 1:-1]
            planes[row, 1] = cv2.GaussianBlur((depth >= depth.max() / 2).astype(np.float32), (5, 5), 6)
    return planes
