"""From raw frames to a training clip: which frames, which part of the picture, which objects, which colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.masks import resize_ids


@dataclass(frozen=True)
class ClipOptions:
    """What a training clip looks like.

    Args:
        steps: frames per clip.
        height, width: size in pixels.
        most_objects: at most this many objects (chosen at random) keep their label, the others become background.
        largest_stride: frames of a video are taken 1 to this many apart, fewer where the video is short.
        reverse: chance that time runs backwards.
        flip: chance of a mirrored clip.
        smallest_crop: the side of the cut-out window as a fraction of the largest window that fits, 1 for no cropping.
        aspect: the window may be stretched by up to this factor in either direction.
        colour: strength of random brightness, contrast, saturation and cast, 0 for none.
        recolour: chance that a single picture gets a part of every object in another colour.
        smallest_object: an object counts if it shows this many pixels in some frame of the clip.
    """

    steps: int = 4
    height: int = 192
    width: int = 336
    most_objects: int = 3
    largest_stride: int = 5
    reverse: float = 0.5
    flip: float = 0.5
    smallest_crop: float = 0.6
    aspect: float = 1.15
    colour: float = 0.5
    recolour: float = 0.0
    smallest_object: int = 60


def choose_frames(
    rng: np.random.Generator, count: int, steps: int, largest_stride: int, *, reverse: float
) -> np.ndarray:
    """Indices int [steps] into a video of `count` frames: evenly spaced, forwards or backwards.

    A video shorter than `steps` is walked to and fro, so that every neighbour is still a neighbour in time.
    """
    if count < steps:
        walk = np.concatenate([np.arange(count), np.arange(count - 2, 0, -1)]) if count > 1 else np.zeros(1, int)
        chosen = walk[(rng.integers(len(walk)) + np.arange(steps)) % len(walk)]
    else:
        longest = min(largest_stride, (count - 1) // (steps - 1)) if steps > 1 else 1
        stride = int(rng.integers(1, longest + 1))
        chosen = int(rng.integers(0, count - stride * (steps - 1))) + stride * np.arange(steps)
    return chosen[::-1] if rng.random() < reverse else chosen


def sample_clip(clip: Clip, rng: np.random.Generator, options: ClipOptions) -> Clip | None:
    """Crop, resize, flip and recolour all frames alike, then choose the objects and number them 1, 2, ...

    The window is moved so that it holds part of an object; None if no object shows enough pixels all the same.
    """
    frames, masks = clip.frames, clip.masks
    for attempt in range(4):
        # The last attempt takes the whole picture, where an object is certain to be if it is anywhere.
        window = _window(rng, masks, options, whole=attempt == 3)
        small = [_cut_ids(mask, window, options) for mask in masks]
        sampled = np.stack(small)
        chosen = choose_objects(rng, sampled, options)
        if chosen:
            break
    else:
        return None
    pictures = np.stack([_cut(frame, window, options) for frame in frames])
    table = np.zeros(256, np.uint8)
    table[list(chosen)] = np.arange(1, len(chosen) + 1)
    sampled = table[sampled]
    if rng.random() < options.flip:
        pictures, sampled = pictures[:, :, ::-1], sampled[:, :, ::-1]
    pictures = change_colours(rng, np.ascontiguousarray(pictures), options.colour)
    return Clip(pictures, np.ascontiguousarray(sampled), tuple(range(1, len(chosen) + 1)), clip.name)


def choose_objects(rng: np.random.Generator, masks: np.ndarray, options: ClipOptions) -> tuple[int, ...]:
    """Up to `most_objects` ids among those visible enough in uint8 T x H x W masks, in random order."""
    counts = np.stack([np.bincount(mask.reshape(-1), minlength=256) for mask in masks]).max(0)
    visible = [i for i in range(1, 255) if counts[i] >= options.smallest_object]
    if not visible:
        return ()
    number = int(rng.integers(1, min(len(visible), options.most_objects) + 1))
    if rng.random() < 0.5:  # half of the clips show all they can: those are the hard ones
        number = min(len(visible), options.most_objects)
    return tuple(int(i) for i in rng.permutation(visible)[:number])


def change_colours(rng: np.random.Generator, frames: np.ndarray, strength: float) -> np.ndarray:
    """Brightness, contrast, gamma, cast and saturation of uint8 T x H x W x 3, the same in all frames."""
    if strength <= 0:
        return frames
    gamma = np.exp(strength * rng.normal(0, 0.25))
    gain = 1 + strength * (rng.normal(0, 0.15) + rng.normal(0, 0.08, 3))
    offset = strength * rng.normal(0, 12)
    levels = (np.linspace(0, 1, 256)[:, None] ** gamma) * gain * 255 + offset
    table = np.clip(levels, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    saturation = float(np.clip(1 + strength * rng.normal(0, 0.4), 0, 1.6)) if rng.random() < 0.7 else 0.0
    grey = rng.random() < 0.05 * strength
    result = np.empty_like(frames)
    for frame, target in zip(frames, result):
        image = cv2.LUT(frame, table)
        if grey:
            saturation = 0.0
        if grey or saturation > 0:
            plain = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            image = cv2.addWeighted(image, saturation, plain, 1 - saturation, 0)
        target[...] = image
    return result


def _window(
    rng: np.random.Generator, masks: np.ndarray, options: ClipOptions, *, whole: bool
) -> tuple[int, int, int, int]:
    """top, left, height, width of the part to show, near an object."""
    full_height, full_width = masks.shape[1:]
    if whole:
        return 0, 0, full_height, full_width
    stretch = np.exp(rng.uniform(-1, 1) * np.log(options.aspect))
    aspect = options.width / options.height * stretch
    height = min(full_height, full_width / aspect)
    share = rng.uniform(options.smallest_crop, 1)
    tall, wide = max(1, round(height * share)), max(1, round(min(full_width, height * aspect) * share))
    top, left = int(rng.integers(0, full_height - tall + 1)), int(rng.integers(0, full_width - wide + 1))
    mask = masks[int(rng.integers(len(masks)))]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows):  # slide the window until it holds a random point of the objects' box
        row, column = int(rng.integers(rows[0], rows[-1] + 1)), int(rng.integers(columns[0], columns[-1] + 1))
        top = int(np.clip(top, max(0, row - tall + 1), min(row, full_height - tall)))
        left = int(np.clip(left, max(0, column - wide + 1), min(column, full_width - wide)))
    return top, left, tall, wide


def _cut(image: np.ndarray, window: tuple[int, int, int, int], options: ClipOptions) -> np.ndarray:
    top, left, height, width = window
    part = image[top : top + height, left : left + width]
    if part.shape[:2] == (options.height, options.width):
        return part
    enlarges = height < options.height or width < options.width
    method = cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA
    return cv2.resize(part, (options.width, options.height), interpolation=method)


def _cut_ids(mask: np.ndarray, window: tuple[int, int, int, int], options: ClipOptions) -> np.ndarray:
    top, left, height, width = window
    return resize_ids(mask[top : top + height, left : left + width], options.height, options.width)
