"""First-round scribbles like a person's: a wobbly stroke along the middle of every object.

The file format is that of DAVIS (`Scribbles/<sequence>/001.json`): points as fractions (x, y) of the picture, one list
of strokes per frame, start and end time in milliseconds.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.morphology import skeletonize


def human_scribbles(rng: np.random.Generator, sequence: str, masks: np.ndarray, frame: int) -> dict:
    """Scribbles on one frame for all objects visible in it; `masks` uint8 F x H x W."""
    strokes = []
    clock = int(rng.integers(800, 2500))
    for object_id in [int(i) for i in np.unique(masks[frame]) if i > 0]:
        for path in object_strokes(rng, masks[frame] == object_id):
            duration = int(60 + 9 * len(path) * rng.uniform(2, 5))
            strokes.append({"path": path, "object_id": object_id, "start_time": clock, "end_time": clock + duration})
            clock += duration + int(rng.integers(400, 1500))
    scribbles: list[list[dict]] = [[] for _ in range(len(masks))]
    scribbles[frame] = strokes
    return {"sequence": sequence, "scribbles": scribbles}


def object_strokes(rng: np.random.Generator, mask: np.ndarray) -> list[list[list[float]]]:
    """One stroke per large piece of a bool H x W mask, as [[x, y], ...] in fractions, inside the piece."""
    height, width = mask.shape
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    strokes = []
    for piece in range(1, count):
        if stats[piece, cv2.CC_STAT_AREA] < max(20, 0.15 * mask.sum()):
            continue
        inside = pieces == piece
        path = longest_path(skeletonize(inside))
        if len(path) < 0.6 * np.sqrt(inside.sum()):  # round things have a skeleton like a dot; a person draws a line
            path = axis_path(inside)
        path = _wobble(rng, path, inside)
        strokes.append([[round(float(x + 0.5) / width, 5), round(float(y + 0.5) / height, 5)] for x, y in path])
    return strokes


def longest_path(skeleton: np.ndarray) -> np.ndarray:
    """The longest shortest path through a bool H x W skeleton, int K x 2 of (x, y), by two breadth-first searches."""
    pixels = {(int(x), int(y)) for y, x in np.argwhere(skeleton)}
    start = min(pixels)
    for _ in range(2):
        previous = _search(pixels, start)
        path = [next(reversed(previous))]  # the pixel that was reached last is the farthest
        while previous[path[-1]] is not None:
            path.append(previous[path[-1]])
        start = path[0]
    return np.array(path)


def axis_path(inside: np.ndarray) -> np.ndarray:
    """A straight line through the middle of a bool H x W piece along its longer axis, int K x 2 of (x, y)."""
    points = np.argwhere(inside)[:, ::-1].astype(float)
    middle = points.mean(0)
    spread, axes = np.linalg.eigh(np.cov((points - middle).T))
    reach = 1.3 * np.sqrt(spread[1])  # an ellipse ends at twice the standard deviation
    line = middle + np.linspace(-reach, reach, max(3, int(2 * reach)))[:, None] * axes[:, 1]
    pixels = np.rint(line).astype(int)
    pixels = np.clip(pixels, 0, [inside.shape[1] - 1, inside.shape[0] - 1])
    kept = pixels[inside[pixels[:, 1], pixels[:, 0]]]
    return kept if len(kept) >= 3 else points[:: max(1, len(points) // 3)].astype(int)


def _search(pixels: set[tuple[int, int]], start: tuple[int, int]) -> dict:
    previous: dict = {start: None}
    front = [start]
    while front:
        following = []
        for x, y in front:
            for step in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
                pixel = (x + step[0], y + step[1])
                if pixel in pixels and pixel not in previous:
                    previous[pixel] = (x, y)
                    following.append(pixel)
        front = following
    return previous


def _wobble(rng: np.random.Generator, path: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Shorten, thin out, smooth and shake a path; points that would fall outside stay where they were."""
    skip = int(len(path) * rng.uniform(0.03, 0.15))
    kept = path[skip : len(path) - skip] if len(path) - 2 * skip >= 3 else path
    smooth = cv2.blur(kept.astype(np.float32)[None], (7, 1))[0]
    shake = cv2.GaussianBlur(rng.normal(0, 6, smooth.shape).astype(np.float32), (1, 19), sigmaX=1, sigmaY=3)
    moved = smooth + shake
    column = np.clip(np.rint(moved[:, 0]).astype(int), 0, inside.shape[1] - 1)
    row = np.clip(np.rint(moved[:, 1]).astype(int), 0, inside.shape[0] - 1)
    good = inside[row, column]
    moved[~good] = kept[~good]
    step = max(1, len(moved) // 40)
    return moved[::step]
