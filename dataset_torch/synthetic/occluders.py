"""Things that stand in the way: posts, bars and leafy blobs with the texture of a photograph."""

from __future__ import annotations

import cv2
import numpy as np

from dataset_torch.synthetic.material import Photo, Sprite


def occluder_sprite(rng: np.random.Generator, photo: Photo, *, kind: int | None = None) -> Sprite:
    """A sprite made on the spot, about 160 pixels large, named `occluder-...`; kind 0 post, 1 blob, 2 leaves."""
    height, width = (200, 160)
    source = photo.pyramid[min(1, len(photo.pyramid) - 1)]
    tall, wide = min(height, source.shape[0]), min(width, source.shape[1])
    top, left = rng.integers(0, source.shape[0] - tall + 1), rng.integers(0, source.shape[1] - wide + 1)
    picture = cv2.resize(source[top : top + tall, left : left + wide], (width, height))
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    kind = int(rng.integers(3)) if kind is None else kind
    if kind == 0:  # a post, maybe leaning
        middle = 0.2 * rng.normal() * y
        inside = rng.uniform(0.08, 0.3) - np.abs(x - middle)
        inside = np.minimum(inside, 0.97 - np.abs(y))
    else:  # a blob of smooth noise, finer for leaves
        cells = 5 if kind == 1 else 14
        noise = cv2.resize(
            rng.standard_normal((cells, cells)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        inside = 0.5 + (0.35 if kind == 1 else 0.6) * noise - (x**2 + y**2)
        inside = np.minimum(inside, np.minimum(0.97 - np.abs(x), 0.97 - np.abs(y)))
    alpha = np.clip(inside * 60 + 0.5, 0, 1) + np.zeros((height, width), np.float32)
    rgba = np.dstack([picture, (alpha * 255).astype(np.uint8)])
    parts = (rgba[..., 3] > 127).astype(np.uint8)
    half = (width // 2, height // 2)
    pyramid = [(rgba, parts), (cv2.resize(rgba, half, interpolation=cv2.INTER_AREA), cv2.resize(parts, half))]
    return Sprite(f"occluder-{photo.name}", pyramid, area=float(max(parts.sum(), 100)))
