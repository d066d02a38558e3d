"""Tiny data sets in the layout of DAVIS, and predictors for them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.masks import write_mask

HEIGHT, WIDTH = 40, 60


def square_masks(num_frames: int, object_ids: tuple[int, ...]) -> np.ndarray:
    """uint8 F x 40 x 60: 12-pixel squares side by side, one pixel further right in every frame."""
    masks = np.zeros((num_frames, HEIGHT, WIDTH), np.uint8)
    for frame in range(num_frames):
        for index, object_id in enumerate(object_ids):
            left = 2 + 18 * index + frame
            masks[frame, 10:22, left : left + 12] = object_id
    return masks


def write_sequence(
    root: Path,
    name: str,
    *,
    num_frames: int = 4,
    object_ids: tuple[int, ...] = (1,),
    scribble_sets: int = 1,
    masks: np.ndarray | None = None,
) -> np.ndarray:
    """Add a sequence to a data set; returns its masks.  Scribbles lie on frame 1, one stroke per object."""
    masks = square_masks(num_frames, object_ids) if masks is None else masks
    frames, annotations = root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name
    frames.mkdir(parents=True)
    for index, mask in enumerate(masks):
        image = np.repeat((mask * 40 + 30)[:, :, None], 3, axis=2)
        (frames / f"{index:05d}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
        write_mask(annotations / f"{index:05d}.png", mask)
    folder = root / "Scribbles" / name
    folder.mkdir(parents=True)
    for number in range(1, scribble_sets + 1):
        strokes = [stroke(object_id, shift=number) for object_id in object_ids]
        write_scribbles(folder / f"{number:03d}.json", name, [strokes if f == 1 else [] for f in range(len(masks))])
    subset = root / "ImageSets" / "2017" / "val.txt"
    subset.parent.mkdir(parents=True, exist_ok=True)
    with subset.open("a") as file:
        file.write(f"{name}\n")
    return masks


def stroke(object_id: int, *, shift: int = 0) -> dict:
    """A short line inside the square of that id."""
    path = [[0.1 + 0.01 * shift, 0.4], [0.2, 0.45]]
    return {"path": path, "object_id": object_id, "start_time": 0, "end_time": 1}


def write_scribbles(path: Path, sequence: str, frames: list[list[dict]]) -> None:
    """Write a scribble file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sequence": sequence, "scribbles": frames}))


def imperfect(masks: np.ndarray, round_number: int) -> np.ndarray:
    """A prediction that depends on the round alone: the truth, moved by some pixels in every frame."""
    rng = np.random.default_rng(round_number)
    return np.stack([np.roll(mask, tuple(rng.integers(-6, 7, 2)), (0, 1)) for mask in masks])
