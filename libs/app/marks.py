"""Marks: the strokes and clicks that a user has drawn on a frame and not handed to the network yet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dataset_torch.errors import UserError
from libs.interactions import Click, Scribble

Mark = Scribble | Click

MAX_POINTS = 20_000  # of one stroke; a minute of drawing at 240 Hz stays below


def mark_to_json(mark: Mark) -> dict[str, Any]:
    """Plain data for JSON: a stroke has `points`, a click has one point."""
    if isinstance(mark, Click):
        return {"kind": "click", "object_id": mark.object_id, "points": [[mark.x, mark.y]]}
    return {"kind": "stroke", "object_id": mark.object_id, "points": mark.points.tolist()}


def mark_from_json(data: Any) -> Mark:
    """Read what the page or `mark_to_json` wrote.  Raises `UserError` for anything else."""
    if not isinstance(data, dict) or data.get("kind") not in ("stroke", "click"):
        raise UserError('a mark is an object with "kind" stroke or click, "object_id" and "points".')
    points, object_id = data.get("points"), data.get("object_id")
    if not isinstance(object_id, int) or isinstance(object_id, bool):
        raise UserError(f"a mark's object_id must be a whole number, not {str(object_id)[:40]!r}.")
    if not isinstance(points, list) or not 1 <= len(points) <= MAX_POINTS:
        raise UserError(f"a mark needs 1 to {MAX_POINTS} points.")
    for point in points:
        numbers = isinstance(point, list) and len(point) == 2 and all(type(v) in (int, float) for v in point)
        if not numbers:
            raise UserError("every point of a mark is a pair [x, y] of numbers in [0, 1].")
    if data["kind"] == "click":
        if len(points) != 1:
            raise UserError("a click has exactly one point.")
        return Click(object_id, float(points[0][0]), float(points[0][1]))
    return Scribble(object_id, np.array(points, dtype=np.float64))


def erase(
    marks: Sequence[Mark], path: np.ndarray, radius: float, *, aspect: float, keep_ids: Sequence[int] = ()
) -> tuple[Mark, ...]:
    """The marks with everything within `radius` of the polyline `path` rubbed out; strokes are cut where it crosses.

    `path` float k x 2, fractions (x, y); `radius` as a fraction of the frame's width; `aspect` is height / width, so
    that the rubber is round on screen.  Marks of the objects in `keep_ids` (locked) stay.
    """
    scale = np.array([1.0, aspect])
    rubber = _resampled(np.asarray(path, dtype=np.float64) * scale, radius / 2)
    left: list[Mark] = []
    for mark in marks:
        if mark.object_id in keep_ids:
            left.append(mark)
        elif isinstance(mark, Click):
            if _distance(np.array([[mark.x, mark.y]]) * scale, rubber)[0] > radius:
                left.append(mark)
        else:
            left.extend(_cut(mark, rubber, radius, scale))
    return tuple(left)


def _cut(stroke: Scribble, rubber: np.ndarray, radius: float, scale: np.ndarray) -> list[Scribble]:
    """The pieces of the stroke outside the rubber; the very same stroke if it was not touched."""
    points = _resampled(stroke.points * scale, radius / 4)
    outside = _distance(points, rubber) > radius
    if outside.all():
        return [stroke]
    pieces, start = [], None
    for i, keep in enumerate([*outside, False]):
        if keep and start is None:
            start = i
        elif not keep and start is not None:
            pieces.append(Scribble(stroke.object_id, np.clip(points[start:i] / scale, 0, 1)))
            start = None
    return pieces


def _resampled(points: np.ndarray, step: float) -> np.ndarray:
    """The polyline with extra points so that neighbours are at most `step` apart."""
    out = [points[:1]]
    for a, b in itertools.pairwise(points):
        count = int(np.clip(np.ceil(np.linalg.norm(b - a) / max(step, 1e-4)), 1, 1000))
        t = np.arange(1, count + 1)[:, None] / count
        out.append(a + (b - a) * t)
    return np.concatenate(out)


def _distance(points: np.ndarray, rubber: np.ndarray) -> np.ndarray:
    """Distance of every point to the nearest point of the rubber's path: float [k]."""
    nearest = np.full(len(points), np.inf)
    for start in range(0, len(rubber), 256):  # in blocks: a long erasure must not ask for gigabytes
        block = rubber[start : start + 256]
        nearest = np.minimum(nearest, np.linalg.norm(points[:, None] - block[None], axis=2).min(axis=1))
    return nearest
