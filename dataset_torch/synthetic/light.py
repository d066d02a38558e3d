"""What the air and the camera do to a finished picture: light, shadow, grain, compression; and colour matching."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from dataset_torch.synthetic.motion import wander
from dataset_torch.synthetic.recipe import Recipe


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """A fixed tile of normal noise, float32 512 x 1024 x 3; fresh noise per frame would cost more than it."""
    return np.random.default_rng(20_17).standard_normal((512, 1024, 3), dtype=np.float32)


def match_colours(rgb: np.ndarray, opaque: np.ndarray, target: np.ndarray, strength: float) -> np.ndarray:
    """Shift mean and spread of the opaque pixels' channels towards those of `target`.

    `rgb` uint8 h x w x 3, `opaque` bool h x w, `target` uint8 pixels with 3 channels, strength 0 to 1.
    """
    inside = rgb[opaque]
    if len(inside) < 10:
        return rgb
    mean, spread = inside.mean(0), inside.std(0) + 1
    goal_mean, goal_spread = target.reshape(-1, 3).mean(0), target.reshape(-1, 3).std(0) + 1
    gain = np.clip(1 + strength * (goal_spread / spread - 1), 0.5, 1.6)
    offset = mean + strength * (goal_mean - mean)
    levels = np.arange(256)[:, None]
    table = np.clip((levels - mean) * gain + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(rgb, table.reshape(1, 256, 3))


def recolour(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another hue, saturation and brightness."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    shift = int(rng.integers(0, 180)) if rng.random() < 0.6 else int(rng.normal(0, 8)) % 180
    levels = np.arange(256)
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, :, 0] = (levels + shift) % 180
    table[0, :, 1] = np.clip(levels * rng.uniform(0.3, 1.3), 0, 255)
    table[0, :, 2] = np.clip(255 * (levels / 255) ** rng.uniform(0.7, 1.5), 0, 255)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)


class CameraEffects:
    """Light and camera of one clip; `apply` finishes one frame."""

    def __init__(self, rng: np.random.Generator, recipe: Recipe):
        steps = recipe.steps
        self.tables = None
        if rng.random() < 0.85:
            moving = rng.random() < recipe.light_change
            self.tables = [self._table(rng_values) for rng_values in self._levels(rng, steps, moving)]
        self.shadow = None
        if rng.random() < 0.15:
            pattern = rng.random((3, 8), dtype=np.float32)
            speed = rng.normal(0, 12)
            self.shadow = (rng.uniform(0.2, 0.6), pattern, speed)
        self.sigma = float(rng.uniform(0.8, 7)) if rng.random() < recipe.noise else 0.0
        self.grain_blur = rng.random() < 0.5
        self.offsets = rng.integers(0, 200, (steps, 2))
        low, high = recipe.jpeg_quality
        self.quality = int(rng.integers(low, max(high, low + 1))) if rng.random() < recipe.jpeg else 0
        self.sharpen = float(rng.uniform(0.2, 0.7)) if rng.random() < 0.25 else 0.0
        self.defocus = float(rng.uniform(0.4, 1.2)) if rng.random() < 0.2 else 0.0

    @staticmethod
    def _levels(rng: np.random.Generator, steps: int, moving: bool) -> np.ndarray:
        """float steps x 7: gamma, gain per channel, offset per channel."""
        base = np.concatenate([[rng.normal(0, 0.2)], rng.normal(0, 0.1) + rng.normal(0, 0.05, 3), rng.normal(0, 5, 3)])
        values = np.tile(base, (steps, 1))
        if moving:
            values[:, 0] += rng.uniform(0, 0.3) * wander(rng, steps)
            values[:, 1:4] += (rng.uniform(0, 0.25) * wander(rng, steps, periods=rng.choice([0.5, 2.0])))[:, None]
            for channel in range(3):
                values[:, 1 + channel] += rng.uniform(0, 0.08) * wander(rng, steps)
        return values

    @staticmethod
    def _table(values: np.ndarray) -> np.ndarray:
        levels = np.linspace(0, 1, 256)[:, None] ** np.exp(values[0])
        return np.clip(levels * (1 + values[1:4]) * 255 + values[4:], 0, 255).astype(np.uint8).reshape(1, 256, 3)

    def apply(self, frame: np.ndarray, step: int) -> np.ndarray:
        """float32 H x W x 3 (0 to 255) -> uint8 H x W x 3."""
        height, width = frame.shape[:2]
        if self.shadow is not None:
            depth, pattern, speed = self.shadow
            shift = np.float32([[1, 0, speed * step], [0, 1, 0]])
            field = cv2.resize(pattern, (width, height), interpolation=cv2.INTER_CUBIC)
            field = cv2.warpAffine(field, shift, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            frame = frame * (1 - depth * np.clip(3 * field - 1, 0, 1))[..., None]
        if self.defocus:
            frame = cv2.GaussianBlur(frame, (0, 0), self.defocus)
        if self.sharpen:
            frame = frame + self.sharpen * (frame - cv2.GaussianBlur(frame, (0, 0), 1.2))
        if self.sigma:
            top, left = self.offsets[step]
            grain = _grain()
            if height + 200 > grain.shape[0] or width + 200 > grain.shape[1]:
                grain = np.tile(grain, (-(-(height + 200) // grain.shape[0]), -(-(width + 200) // grain.shape[1]), 1))
            noise = grain[top : top + height, left : left + width]
            if self.grain_blur:
                noise = 1.6 * cv2.blur(noise, (2, 2))
            frame = frame + self.sigma * noise
        image = np.clip(frame, 0, 255).astype(np.uint8)
        if self.tables is not None:
            image = cv2.LUT(image, self.tables[step])
        if self.quality:
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return image
