"""J (region similarity) and F (contour accuracy) per frame and object, as DAVIS defines them.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016.

The figures equal those of `davisinteractive.metrics`, in a fraction of the time: areas are counted without copies, and
contours are compared inside the objects' bounding boxes only.  Both measures are 1 where an object is absent from
ground truth and prediction alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

CONTOUR_TOLERANCE = 0.008  # of the frame's diagonal: how far apart contours may lie and still match


def jaccard(ground_truth: np.ndarray, prediction: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """Intersection over union of every object in every frame.

    Args:
        ground_truth: integer F x H x W of object ids.
        prediction: integer F x H x W of object ids.
        object_ids: the ids to measure; others count as background.

    Returns:
        float64 F x O in [0, 1]; 1 where an object is in neither.

    Raises:
        ValueError: The arrays are not of one F x H x W shape, or not integers.
    """
    truth, found = _checked(ground_truth, prediction)
    result = np.empty((len(truth), len(object_ids)))
    for frame in range(len(truth)):
        for column, object_id in enumerate(object_ids):
            in_truth, in_found = truth[frame] == object_id, found[frame] == object_id
            shared = np.count_nonzero(in_truth & in_found)
            union = np.count_nonzero(in_truth) + np.count_nonzero(in_found) - shared
            result[frame, column] = shared / union if union else 1.0
    return result


def f_measure(
    ground_truth: np.ndarray,
    prediction: np.ndarray,
    object_ids: Sequence[int],
    *,
    tolerance: float = CONTOUR_TOLERANCE,
) -> np.ndarray:
    """Harmonic mean of precision and recall of every object's contour pixels in every frame.

    A contour pixel matches when the other contour passes within `tolerance` x diagonal, rounded up to whole pixels.
    An object that fills the frame has no contour.  Arguments, result and errors as for `jaccard`; `tolerance` is a
    fraction of the frame's diagonal.
    """
    truth, found = _checked(ground_truth, prediction)
    radius = math.ceil(tolerance * math.hypot(*truth.shape[1:]))
    result = np.empty((len(truth), len(object_ids)))
    for frame in range(len(truth)):
        for column, object_id in enumerate(object_ids):
            contours = _contour(truth[frame] == object_id), _contour(found[frame] == object_id)
            result[frame, column] = _contour_agreement(*contours, radius)
    return result


def j_and_f(
    ground_truth: np.ndarray, prediction: np.ndarray, object_ids: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J, F and their mean J&F, each float64 F x O; see `jaccard` and `f_measure`."""
    region, contour = jaccard(ground_truth, prediction, object_ids), f_measure(ground_truth, prediction, object_ids)
    return region, contour, 0.5 * region + 0.5 * contour


def _checked(ground_truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.asarray(ground_truth), np.asarray(prediction)
    if arrays[0].ndim != 3 or arrays[0].shape != arrays[1].shape:
        raise ValueError(f"masks must be two arrays F x H x W of one shape, got {arrays[0].shape}, {arrays[1].shape}")
    for array in arrays:
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"masks hold integer object ids, got {array.dtype}")
    return arrays


class _Contour:
    """Contour pixels of one object: a window of the frame at (`top`, `left`), bool, and their `count`."""

    def __init__(self, top: int, left: int, pixels: np.ndarray):
        self.top, self.left, self.pixels = top, left, pixels
        self.count = np.count_nonzero(pixels)

    @property
    def bottom(self) -> int:
        return self.top + self.pixels.shape[0]

    @property
    def right(self) -> int:
        return self.left + self.pixels.shape[1]

    def in_window(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """The pixels as uint8 in a window that holds this one."""
        window = np.zeros((bottom - top, right - left), np.uint8)
        window[self.top - top : self.bottom - top, self.left - left : self.right - left] = self.pixels
        return window


def _contour(mask: np.ndarray) -> _Contour:
    """Pixels of `mask` (bool H x W) that differ from the right, lower or lower right neighbour.

    Outside the frame the last row and column go on, so that an object cut off by the frame has no contour there.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return _Contour(0, 0, np.zeros((0, 0), bool))
    # One pixel more on each side: the pixel before the object differs from its neighbour, too.
    first_row, first_column = max(top - 1, 0), max(left - 1, 0)
    window = mask[first_row : top + height + 1, first_column : left + width + 1]
    padded = np.pad(window, ((0, 1), (0, 1)), mode="edge")
    pixels = (window != padded[:-1, 1:]) | (window != padded[1:, :-1]) | (window != padded[1:, 1:])
    return _Contour(first_row, first_column, pixels)


def _contour_agreement(truth: _Contour, found: _Contour, radius: int) -> float:
    """F of one object in one frame."""
    if not truth.count or not found.count:
        return float(truth.count == found.count)  # nothing to find and nothing found, or one of precision, recall is 0
    top, left = min(truth.top, found.top), min(truth.left, found.left)
    window = top, left, max(truth.bottom, found.bottom), max(truth.right, found.right)
    truth_pixels, found_pixels = truth.in_window(*window), found.in_window(*window)
    precision = _near(found_pixels, truth_pixels, radius) / found.count
    recall = _near(truth_pixels, found_pixels, radius) / truth.count
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(pixels: np.ndarray, others: np.ndarray, radius: int) -> int:
    """How many of `pixels` (uint8 h x w, 0 or 1) lie within `radius` (Euclidean) of one of `others`."""
    return np.count_nonzero(pixels & _dilated_by_disc(others, radius))


def _dilated_by_disc(pixels: np.ndarray, radius: int) -> np.ndarray:
    """`pixels` (uint8 h x w) spread to every pixel within `radius` (Euclidean).

    A disc is a stack of horizontal bars; OpenCV spreads by a bar at a cost that does not grow with its length.
    """
    height = len(pixels)
    padded = np.pad(pixels, ((radius, radius), (0, 0)))
    result = np.zeros_like(pixels)
    for offset in range(radius + 1):
        bar = np.ones((1, 2 * math.isqrt(radius**2 - offset**2) + 1), np.uint8)
        spread = cv2.dilate(padded, bar)
        for first in {radius - offset, radius + offset}:
            np.maximum(result, spread[first : first + height], out=result)
    return result


def area_over_rounds(values: Sequence[float]) -> float:
    """R-AUC: the area under a metric's curve over rounds 1 to R (trapezoids), over its width.

    `(values[0] / 2 + values[1] + ... + values[R-2] + values[R-1] / 2) / (R - 1)`; with one round its value.  In the
    metric's own unit; does not depend on any machine's speed.  Raises `ValueError` without a round.
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        raise ValueError("the area over rounds needs at least one round")
    return float(values[0]) if values.size == 1 else float(np.mean((values[1:] + values[:-1]) / 2))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two float arrays N, ties at their mean rank; nan where one side is constant."""
    ranks = [_mean_ranks(a), _mean_ranks(b)]
    if len(a) < 2 or np.ptp(ranks[0]) == 0 or np.ptp(ranks[1]) == 0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
