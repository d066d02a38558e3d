"""A tiny training set and recipe: a bright square that moves over a dark, noisy ground."""

from __future__ import annotations

import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.clip_sampling import ClipOptions
from dataset_torch.clips import ClipSource
from libs.training.data import TrainingSet
from libs.training.recipe import Recipe, Stage

SIZE = (64, 96)


def square_clip(seed: int, *, length: int = 4) -> Clip:
    """One object of 24 x 24 pixels, 4 pixels to the right per frame."""
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 60, (length, *SIZE, 3)).astype(np.uint8)
    masks = np.zeros((length, *SIZE), np.uint8)
    top, left = int(generator.integers(4, 36)), int(generator.integers(4, 40))
    colour = generator.integers(150, 256, 3)
    for t in range(length):
        where = np.s_[top : top + 24, left + 4 * t : left + 4 * t + 24]
        frames[t][where], masks[t][where] = colour, 1
    return Clip(frames, masks, (1,), f"square {seed}")


class Squares(ClipSource):
    """An endless set of such clips."""

    def __init__(self, count: int = 100) -> None:
        super().__init__(ClipOptions())
        self.count = count

    def __len__(self) -> int:
        return self.count

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        return square_clip(index, length=steps)


def squares(count: int = 100) -> list[TrainingSet]:
    return [TrainingSet("squares", Squares(count))]


def tiny_recipe(**changes: object) -> Recipe:
    values = {
        "name": "tiny",
        "architecture": "compact",
        "stages": (Stage(share=1, length=(2, 2), rounds=(0.5, 0.5), size=SIZE, max_objects=1, practice=0.5),),
        "steps": 4,
        "clips_per_step": 2,
        "warm_up_steps": 1,
        "smallest_crop": 1.0,
        "colour": 0.1,
    }
    return Recipe(**{**values, **changes})
