"""A tiny folder of material and tiny data sets, written to disk for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dataset_torch.masks import write_mask


def write_image(path: Path, image: np.ndarray) -> None:
    """Save RGB (or RGBA) uint8; parent folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = [2, 1, 0, 3][: image.shape[2]]
    assert cv2.imwrite(str(path), image[..., order])


def picture(height: int = 90, width: int = 160, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture, uint8 height x width x 3."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def disc(size: int = 60) -> np.ndarray:
    """A red disc with alpha, uint8 size x size x 4."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = x**2 + y**2 < (0.45 * size) ** 2
    return np.dstack([np.full((size, size), v, np.uint8) for v in (200, 30, 40)] + [inside.astype(np.uint8) * 255])


def two_object_mask(height: int = 90, width: int = 160) -> np.ndarray:
    """Object 1 left, object 2 beside it, touching; both 30 x 40 pixels at least."""
    mask = np.zeros((height, width), np.uint8)
    mask[20:80, 30:70] = 1
    mask[30:70, 70:120] = 2
    return mask


def write_material(root: Path) -> Path:
    """Two cut-outs, one background, one still."""
    write_image(root / "cutouts" / "animals__disc.png", disc())
    write_image(root / "cutouts" / "space__disc.png", disc(40))
    write_image(root / "backgrounds" / "wall.png", picture(120, 200, 1))
    write_image(root / "stills" / "JPEGImages" / "pair" / "00000.png", picture(90, 160, 2))
    (root / "stills" / "Annotations" / "pair").mkdir(parents=True)
    write_mask(root / "stills" / "Annotations" / "pair" / "00000.png", two_object_mask())
    return root
