"""From a clip to a training sample: which frames, which objects, which crop; chance comes from one generator."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dataset_torch.clip import Clip
from libs.training.recipe import Recipe, Stage

SMALLEST_AREA = (
    0.0012  # of the frame: a smaller object cannot be stroked sensibly at training size
)


@dataclass(frozen=True)
class Sample:
    """What one pass trains on."""

    frames: np.ndarray  # uint8 T x H x W x 3
    truth: np.ndarray  # uint8 T x H x W, ids 1 .. O
    object_ids: tuple[int, ...]  # (1, ..., O)
    first_frame: int  # annotated in round 1; every object is visible there


def make_sample(
    clip: Clip, recipe: Recipe, stage: Stage, generator: np.random.Generator
) -> Sample | None:
    """Draw a sample of this clip; `None` if no object is big enough to be stroked on the frame that was drawn."""
    indices = choose_frames(len(clip), recipe, stage, generator)
    first = int(generator.integers(len(indices)))
    box = choose_crop(clip.masks[indices[first]], stage.size, recipe.crop, generator)
    flip = generator.random() < recipe.flip
    masks = np.stack(
        [_cut(clip.masks[i], box, stage.size, flip, cv2.INTER_NEAREST) for i in indices]
    )
    visible = np.bincount(masks[first].reshape(-1), minlength=256)[1:]
    ids = np.flatnonzero(visible >= SMALLEST_AREA * masks[first].size) + 1
    if not len(ids):
        return None
    count = int(generator.integers(1, min(len(ids), stage.max_objects) + 1))
    # The objects left out stay in the picture as background that looks like objects.
    chosen = generator.permutation(ids)[:count]
    table = np.zeros(256, np.uint8)
    table[chosen] = np.arange(1, count + 1)
    method = cv2.INTER_AREA if box[2] > stage.size[0] else cv2.INTER_LINEAR
    frames = np.stack(
        [_cut(clip.frames[i], box, stage.size, flip, method) for i in indices]
    )
    frames = jitter_colour(frames, recipe.colour, generator)
    return Sample(frames, table[masks], tuple(range(1, count + 1)), first)


def choose_frames(
    available: int, recipe: Recipe, stage: Stage, generator: np.random.Generator
) -> np.ndarray:
    """Evenly spaced frame numbers, forward or backward in time."""
    length = min(
        int(generator.integers(stage.length[0], stage.length[1] + 1)), available
    )
    widest = (
        min(recipe.stride, (available - 1) // max(length - 1, 1)) if length > 1 else 1
    )
    stride = int(generator.integers(1, max(widest, 1) + 1))
    start = int(generator.integers(available - (length - 1) * stride))
    indices = start + stride * np.arange(length)
    return indices[::-1] if generator.random() < recipe.reverse else indices


def choose_crop(
    mask: np.ndarray,
    size: tuple[int, int],
    sides: tuple[float, float],
    generator: np.random.Generator,
) -> tuple[int, int, int, int]:
    """A box (top, left, height, width) of the output's proportions, centred near an object of the mask if any."""
    height, width = mask.shape
    largest = min(height / size[0], width / size[1])
    scale = largest * generator.uniform(*sides)
    box_height, box_width = round(size[0] * scale), round(size[1] * scale)
    places = np.argwhere(mask > 0)
    centre = (
        places[generator.integers(len(places))]
        if len(places)
        else np.array([height / 2, width / 2])
    )
    shift = generator.uniform(-0.3, 0.3, 2) * (box_height, box_width)
    top = int(np.clip(centre[0] + shift[0] - box_height / 2, 0, height - box_height))
    left = int(np.clip(centre[1] + shift[1] - box_width / 2, 0, width - box_width))
    return top, left, box_height, box_width


def jitter_colour(
    frames: np.ndarray, strength: float, generator: np.random.Generator
) -> np.ndarray:
    """The same random gain and offset per channel, and gamma, on all frames."""
    gain = (
        1
        + generator.uniform(-strength, strength)
        + generator.uniform(-strength, strength, 3) / 2
    )
    offset = 255 * generator.uniform(-strength, strength) / 2
    gamma = np.exp(generator.uniform(-strength, strength))
    values = 255 * (np.arange(256)[:, None] / 255) ** gamma * gain + offset  # 256 x 3
    table = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return np.stack([table[frames[..., c], c] for c in range(3)], axis=-1)


def _cut(
    image: np.ndarray,
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    flip: bool,
    method: int,
) -> np.ndarray:
    top, left, height, width = box
    part = cv2.resize(
        image[top : top + height, left : left + width],
        (size[1], size[0]),
        interpolation=method,
    )
    return part[:, ::-1] if flip else part
