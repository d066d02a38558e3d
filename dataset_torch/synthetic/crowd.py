"""Onlookers: unlabelled people and animals painted into the background, where they confuse as a real crowd does."""

from __future__ import annotations

import cv2
import numpy as np

from dataset_torch.synthetic.light import match_colours
from dataset_torch.synthetic.material import Sprite
from dataset_torch.synthetic.recipe import Recipe
from dataset_torch.synthetic.scenery import Background


def add_crowd(rng: np.random.Generator, recipe: Recipe, background: Background, sprites: list[Sprite]) -> None:
    """Paint a row of sprites into the background's texture, in place; they stand in the world and move with it."""
    texture = background.texture.copy()
    height = recipe.height * background.scale * rng.uniform(0.15, 0.6)
    line = background.origin[1] + recipe.height * background.scale * rng.uniform(-0.2, 0.3)
    number = int(rng.integers(5, 15))
    column = background.origin[0] - recipe.width * background.scale * rng.uniform(0.3, 1.0)
    kinds = rng.permutation(len(sprites))[: int(rng.integers(1, 8))]
    for _ in range(number):
        sprite = sprites[int(rng.choice(kinds))]
        tall = height * rng.uniform(0.75, 1.25)
        level = int(np.clip(np.log2(max(sprite.pyramid[0][1].shape[0] / tall, 1)), 0, len(sprite.pyramid) - 1))
        rgba = sprite.pyramid[level][0]
        size = (max(2, round(tall * rgba.shape[1] / rgba.shape[0])), max(2, round(tall)))
        if size[0] > texture.shape[1]:
            continue
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.5:
            rgba = rgba[:, ::-1]
        _paste(texture, rgba, int(line - tall / 2), int(column), rng.uniform(0.1, 0.6))
        column += size[0] * rng.uniform(0.4, 1.3)
    if rng.random() < recipe.background_defocus:
        texture = cv2.GaussianBlur(texture, (0, 0), rng.uniform(0.5, 1.5))
    background.texture = texture


def _paste(texture: np.ndarray, rgba: np.ndarray, top: int, left: int, harmony: float) -> None:
    bottom, right = min(top + rgba.shape[0], texture.shape[0]), min(left + rgba.shape[1], texture.shape[1])
    first_row, first_column = max(top, 0), max(left, 0)
    if bottom - first_row < 2 or right - first_column < 2:
        return
    rgba = rgba[first_row - top : bottom - top, first_column - left : right - left]
    region = texture[first_row:bottom, first_column:right]
    rgb = match_colours(np.ascontiguousarray(rgba[..., :3]), rgba[..., 3] > 127, region[::2, ::2], harmony)
    share = rgba[..., 3:].astype(np.float32) / 255
    region[...] = (region * (1 - share) + rgb * share).astype(np.uint8)
