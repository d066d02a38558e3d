"""What the benchmarks segment: a synthetic video with moving textured discs, and strokes on them."""

from __future__ import annotations

import numpy as np

from dataset_torch.frames import FrameSource
from libs.interactions import FrameAnnotation, Scribble


class Discs(FrameSource):
    """Textured discs that move over a texture, drawn when read: a video of any length takes no memory."""

    def __init__(self, num_frames: int, height: int, width: int, objects: int, *, seed: int = 0):
        self.height, self.width, self.objects, self.name = height, width, objects, f"discs-{seed}"
        self._count = num_frames
        random = np.random.default_rng(seed)
        coarse = random.integers(60, 200, (height // 8 + 1, width // 8 + 1, 3))
        fine = random.integers(-20, 20, (height, width, 3))
        smooth = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width]
        self._ground = np.clip(smooth + fine, 0, 255).astype(np.uint8)
        self._colours = random.integers(0, 255, (objects, 3))
        self._rows = 0.15 + 0.7 * random.random(objects)
        self._phases = random.random(objects) * 2 * np.pi

    def __len__(self) -> int:
        return self._count

    def place(self, index: int, frame: int) -> tuple[float, float, float]:
        """Centre (x, y) as fractions of the size, and radius in pixels, of one disc."""
        x = 0.5 + 0.3 * np.sin(self._phases[index] + 0.05 * frame)
        return x, self._rows[index], 0.12 * self.height

    def read(self, index: int) -> np.ndarray:
        self.check_index(index)
        image = self._ground.copy()
        rows, columns = np.ogrid[: self.height, : self.width]
        for disc in range(self.objects):
            x, y, radius = self.place(disc, index)
            inside = (columns - x * self.width) ** 2 + (rows - y * self.height) ** 2 < radius**2
            image[inside] = image[inside] // 4 + (self._colours[disc] * 3 // 4).astype(np.uint8)
        return image

    def strokes(self, frame: int) -> FrameAnnotation:
        """A horizontal stroke through every disc on `frame`."""
        scribbles = []
        for disc in range(self.objects):
            x, y, radius = self.place(disc, frame)
            half = radius / self.width / 2
            scribbles.append(Scribble(disc + 1, np.array([[x - half, y], [x, y], [x + half, y]])))
        return FrameAnnotation(frame, tuple(scribbles))
