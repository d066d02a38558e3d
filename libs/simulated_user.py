"""A simulated user for training: strokes and clicks on an object, or on what a prediction got wrong.

Like the robot of the DAVIS challenge it strokes, for every id, the pixels that belong to this id and are labelled
otherwise: on an empty prediction that is each object once, later it is corrections, background strokes among them.
Unlike the robot it also draws wobbly lines, short strokes and clicks, so that a network does not learn one habit.
Milliseconds a frame, where the robot takes a tenth of a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.morphology import skeletonize

from libs.interactions import Click, FrameAnnotation, Scribble

_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class UserStyle:
    """How the user draws.  The four shares are relative; sizes are fractions of the frame's shorter side."""

    medial: float = 0.6  # along the middle of the region, as the robot draws
    wobbly: float = 0.25  # a winding line inside the region
    short: float = 0.07  # the same, but a few pixels long
    click: float = 0.08
    regions: int = 3  # separate regions of one id that are stroked at most
    smallest: float = 0.02  # diameter of the smallest region that is worth a stroke
    thinned: float = 0.5  # probability that a region is eroded a little first, so that strokes keep off its border


ROBOT_STYLE = UserStyle(wobbly=0.0, short=0.0, click=0.0, thinned=0.0)


def annotate(
    frame: int,
    truth: np.ndarray,
    prediction: np.ndarray | None,
    object_ids: Sequence[int],
    generator: np.random.Generator,
    style: UserStyle = UserStyle(),
) -> FrameAnnotation:
    """What the user gives on this frame.

    Args:
        frame: the frame's number, passed on.
        truth: H x W of ids.
        prediction: H x W of ids; `None` before the first round (then the background is not stroked).
        object_ids: the objects of interest; every other id in `truth` counts as background.
        generator: the only source of chance.

    Returns:
        Strokes on up to `style.regions` regions of every id; empty if nothing is wrong.
    """
    known = np.where(np.isin(truth, object_ids), truth, 0)
    scribbles: list[Scribble] = []
    clicks: list[Click] = []
    ids = list(object_ids) if prediction is None else [0, *object_ids]
    for object_id in ids:
        wrong = known == object_id
        if prediction is not None:
            wrong &= prediction != object_id
        for region in error_regions(wrong, style):
            drawn = draw(region, object_id, generator, style)
            (clicks if isinstance(drawn, Click) else scribbles).append(drawn)
    return FrameAnnotation(frame, tuple(scribbles), tuple(clicks))


def error_regions(wrong: np.ndarray, style: UserStyle) -> list[np.ndarray]:
    """The connected regions of a boolean mask that are worth a stroke, largest first, as boolean masks."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=8)
    if count < 2:
        return []
    areas = statistics[1:, cv2.CC_STAT_AREA]
    smallest = (style.smallest * min(wrong.shape)) ** 2
    order = [
        i for i in np.argsort(-areas, kind="stable")[: style.regions] if areas[i] >= max(smallest, areas.max() / 8)
    ]
    return [labels == i + 1 for i in order]


def draw(region: np.ndarray, object_id: int, generator: np.random.Generator, style: UserStyle) -> Scribble | Click:
    """One stroke or click on a region (boolean, not empty)."""
    y0, x0 = (int(v.min()) for v in np.nonzero(region))
    y1, x1 = (int(v.max()) + 1 for v in np.nonzero(region))
    part = np.pad(region[y0:y1, x0:x1], 1)
    depth = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 3)
    if generator.random() < style.thinned:
        depth = np.where(depth > min(2.0, depth.max() / 2), depth, 0)
    shares = np.array([style.medial, style.wobbly, style.short, style.click])
    kind = generator.choice(4, p=shares / shares.sum())
    if kind == 0:
        path = medial_path(depth > 0)
    elif kind == 3:
        path = _inner_point(depth, generator)[None]
    else:
        path = wobbly_path(depth, generator, steps=4 if kind == 2 else int(generator.integers(8, 40)))
    height, width = region.shape
    # A point is drawn on pixel round(point * size) - 1, so pixel x is the fraction (x + 1) / width.
    points = np.clip((path[:, ::-1] - 1 + (x0, y0) + 1) / (width, height), 0, 1)
    if kind == 3:
        x, y = (path[0, ::-1] - 0.5 + (x0, y0)) / (width, height)
        return Click(object_id, float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1)))
    return Scribble(object_id, points)


def medial_path(region: np.ndarray) -> np.ndarray:
    """The longest path along the region's skeleton: int k x 2, (y, x), every third pixel and both ends."""
    skeleton = skeletonize(region)
    pixels = {(int(y), int(x)) for y, x in zip(*np.nonzero(skeleton))}
    start = next(iter(sorted(pixels)))
    end = _walk(pixels, start)[-1]
    path = _walk(pixels, end)
    return np.array(path[:-1:3] + path[-1:])


def _walk(pixels: set[tuple[int, int]], start: tuple[int, int]) -> list[tuple[int, int]]:
    """The path from `start` to the pixel farthest from it (in steps) within its connected part."""
    before: dict[tuple[int, int], tuple[int, int] | None] = {start: None}
    queue = deque([start])
    last = start
    while queue:
        last = queue.popleft()
        for dy, dx in _NEIGHBOURS:
            place = (last[0] + dy, last[1] + dx)
            if place in pixels and place not in before:
                before[place] = last
                queue.append(place)
    path = [last]
    while (step := before[path[-1]]) is not None:
        path.append(step)
    return path[::-1]


def wobbly_path(depth: np.ndarray, generator: np.random.Generator, *, steps: int) -> np.ndarray:
    """A winding line that stays where `depth` > 0: int k x 2, (y, x), k <= steps + 1."""
    place = _inner_point(depth, generator).astype(float)
    path, angle = [place], generator.uniform(0, 2 * np.pi)
    for _ in range(steps):
        for turn in (0.35, 0.9, 1.8, 3.2):  # harder and harder, until the next point is inside
            heading = angle + generator.normal(0, turn)
            following = place + 3 * np.array([np.sin(heading), np.cos(heading)])
            y, x = np.round(following).astype(int)
            if 0 <= y < depth.shape[0] and 0 <= x < depth.shape[1] and depth[y, x] > 0:
                place, angle = following, heading
                path.append(place)
                break
        else:
            break
    return np.round(np.array(path)).astype(int)


def _inner_point(depth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A pixel (y, x) of the region, deep ones more likely."""
    places = np.argwhere(depth > 0.4 * depth.max())
    return places[generator.integers(len(places))]
