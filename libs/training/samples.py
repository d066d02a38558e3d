"""From a clip to a training sample: where the first round begins, and which objects take part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset_torch.clip import Clip
from libs.simulated_user import ROBOT_STYLE

SMALLEST_PIXELS = 50  # of an object that validation counts
SMALLEST_SHARE = 0.0012  # of the frame: a smaller object cannot be stroked sensibly at training size


@dataclass(frozen=True)
class Sample:
    """What one pass trains on."""

    frames: np.ndarray  # uint8 T x H x W x 3
    truth: np.ndarray  # uint8 T x H x W, ids 1 .. O
    object_ids: tuple[int, ...]  # (1, ..., O)
    first_frame: int  # annotated in round 1; every object is visible there


def make_sample(clip: Clip, generator: np.random.Generator) -> Sample:
    """Draw the first frame, and keep the objects that can be stroked on it; the others become background.

    If none can on the frame drawn, the frame that shows most of any object is taken.
    """
    ids = np.array(clip.object_ids)
    areas = np.stack([(clip.masks == i).sum((1, 2)) for i in ids])  # O x T
    enough = areas >= SMALLEST_SHARE * clip.masks[0].size
    first = int(generator.integers(len(clip)))
    if not enough[:, first].any():
        first = int(areas.max(0).argmax())
        enough[areas[:, first].argmax(), first] = True
    chosen = ids[enough[:, first]]
    table = np.zeros(256, np.uint8)
    table[chosen] = np.arange(1, len(chosen) + 1)
    return Sample(clip.frames, table[clip.masks], tuple(range(1, len(chosen) + 1)), first)


def clearest_frame(clip: Clip) -> tuple[int, list[int]]:
    """The frame that shows most objects, of those the one whose smallest is largest; and the ids that it shows.

    No ids where no frame shows an object that the robot would stroke.
    """
    smallest = max(SMALLEST_PIXELS, (ROBOT_STYLE.smallest * min(clip.masks.shape[1:])) ** 2)
    areas = np.stack([(clip.masks == i).sum((1, 2)) for i in clip.object_ids])  # O x T
    shown = areas > smallest
    least = np.where(shown, areas, clip.masks[0].size).min(0)
    frame = max(range(len(clip)), key=lambda t: (shown[:, t].sum(), least[t]))
    return frame, [i for i, visible in zip(clip.object_ids, shown[:, frame]) if visible]
