"""The framework's scribble robot, on single frames and several times faster, with the same strokes.

What takes its time are two rank filters and a skeleton over the whole frame, and integer copies of the whole video.
`FastRobot` hands the framework's own code only the part of the frame where the error is, with OpenCV's erosion and
dilation in place of the rank filters; nothing else is changed.  `tests/libs/test_scribble_robot.py` compares both.
"""

from __future__ import annotations

import inspect
import threading

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import rank
from skimage.morphology import medial_axis

from libs import davis_compat  # noqa: F401  patches davisinteractive before it is imported

# isort: split
from davisinteractive.robot import InteractiveScribblesRobot, interactive_robot

_mode = threading.local()  # .fast is True while a FastRobot draws, in the thread that it draws in


class _MorphologyOrRank:
    """Stands for `skimage.filters.rank` in the framework's robot: OpenCV for the fast one, else as it was.

    On masks of 0 and 1 minimum and maximum over a footprint are erosion and dilation; both libraries leave out what
    lies outside of the image and put the footprint's centre at half its size.
    """

    @staticmethod
    def minimum(image: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        if not getattr(_mode, "fast", False):
            return rank.minimum(image, footprint)
        eroded = cv2.erode(image, footprint)
        # A disc of radius 1.0 to 1.2 is three pixels without its centre: at the first pixel of the image none of them
        # is inside, where OpenCV gives the type's largest value and the rank filter 0.
        eroded[eroded > 1] = 0
        return eroded

    @staticmethod
    def maximum(image: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        return cv2.dilate(image, footprint) if getattr(_mode, "fast", False) else rank.maximum(image, footprint)


interactive_robot.rank = _MorphologyOrRank


class _RememberedLabels:
    """Stands for `scipy.ndimage` in scikit-image's skeleton code, and labels every 3 x 3 pattern only once.

    For each skeleton, whatever its size, that code labels the same 1,024 patterns, some 40 ms, to fill a table.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], tuple[np.ndarray, int]] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(ndimage, name)

    def label(self, pattern: np.ndarray, structure: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """As `scipy.ndimage.label`."""
        if pattern.shape != (3, 3) or structure is None:
            return ndimage.label(pattern, structure)
        key = pattern.tobytes(), structure.tobytes()
        if key not in self._known:
            self._known[key] = ndimage.label(pattern, structure)
            self._known[key][0].flags.writeable = False
        return self._known[key]


_skeleton_code = inspect.getmodule(inspect.unwrap(medial_axis))
if getattr(_skeleton_code, "ndi", None) is ndimage:  # else another release of scikit-image, which is left alone
    _skeleton_code.ndi = _RememberedLabels()


class FastRobot(InteractiveScribblesRobot):
    """Draws the strokes that the framework's robot draws, working only where the error is."""

    def _generate_scribble_mask(self, mask: np.ndarray) -> np.ndarray:
        """Skeleton (bool H x W) of an error mask (H x W), which must not be empty."""
        mask = np.ascontiguousarray(mask, dtype=np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        margin = int(self.max_kernel_radius) + 3  # what a footprint reaches beyond the error, and a rim of background
        rows = slice(max(top - margin, 0), top + height + margin)
        columns = slice(max(left - margin, 0), left + width + margin)
        skeleton = np.zeros(mask.shape, bool)
        _mode.fast = True
        try:
            skeleton[rows, columns] = super()._generate_scribble_mask(mask[rows, columns])
        finally:
            _mode.fast = False
        return skeleton

    def interact(
        self,
        sequence: str,
        pred_masks: np.ndarray,
        gt_masks: np.ndarray,
        nb_objects: int | None = None,
        frame: int | None = None,
    ) -> dict:
        """As the framework's; needs `frame` and `nb_objects`, since it looks at that frame alone."""
        if frame is None or nb_objects is None:
            return super().interact(sequence, pred_masks, gt_masks, nb_objects, frame)
        one = slice(frame, frame + 1)
        drawn = super().interact(sequence, pred_masks[one], gt_masks[one], nb_objects, frame=0)
        scribbles: list[list[dict]] = [[] for _ in range(len(gt_masks))]
        scribbles[frame] = drawn["scribbles"][0]
        return {**drawn, "scribbles": scribbles}


def scribble_robot(*, min_nb_nodes: int = 4, fast: bool = True) -> InteractiveScribblesRobot:
    """The robot with the framework's settings for evaluations (kernel .2 of the error's size, at most 16 pixels).

    Args:
        min_nb_nodes: shorter skeletons are dropped; 4 is the framework's default, the published DAVIS runs use 2.
        fast: `FastRobot` rather than the framework's; the strokes are the same.
    """
    robot = FastRobot if fast else InteractiveScribblesRobot
    return robot(kernel_size=0.2, max_kernel_radius=16, min_nb_nodes=min_nb_nodes, nb_points=1000)


def correct_frame(
    robot: InteractiveScribblesRobot, ground_truth: np.ndarray, prediction: np.ndarray, num_objects: int
) -> list[dict]:
    """Strokes on the errors of one frame.

    Args:
        ground_truth: integer H x W of ids 0 to `num_objects`; another id (void) is nothing to correct.
        prediction: integer H x W of ids.
        num_objects: strokes are drawn for background (0) and the objects 1 to `num_objects`.

    Returns:
        Strokes in the DAVIS format, background first: `{"path": [[x, y], ...] as fractions, "object_id": id,
        "start_time", "end_time"}`; none where nothing is wrong, or too little to draw a line in.
    """
    drawn = robot.interact("frame", prediction[None], ground_truth[None], nb_objects=num_objects, frame=0)
    return drawn["scribbles"][0]
