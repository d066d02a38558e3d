"""Things that move by themselves: sequences of RGBA frames, as of an animal that walks or turns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.frames import is_picture
from dataset_torch.synthetic.cache import PictureCache
from dataset_torch.synthetic.motion import log_uniform
from dataset_torch.synthetic.pictures import LARGEST_SPRITE, Sprite, continue_colours, halve_cutout, limit_cutout
from dataset_torch.synthetic.stored import png_header

_RIM = 4  # transparent pixels all round, so that interpolation beyond the border fades out


class AnimatedSprite(Sprite):
    """A sprite with several pictures, `paths` in the order of time.

    The pictures share one canvas, cropped to what any of them covers, so the thing keeps its place in it.  `area` is
    the mean number of opaque pixels; `pyramid` shows the picture in the middle of the sequence.  The pixels are read
    on first use: about 20 ms for 16 pictures of 256 x 256.
    """

    def __init__(self, name: str, paths: list[Path], cache: PictureCache, *, weight: float = 1.0):
        self.name, self.paths, self.weight, self.parts = name, paths, weight, 1
        self._cache = cache

    @property
    def frames(self) -> np.ndarray:
        """The pictures, uint8 N x h x w x 4."""
        return self._cache.get(("animation", self.paths[0]), self._read)[0]

    @property
    def area(self) -> float:
        """As of `Sprite`, mean of all pictures."""
        return self._cache.get(("animation", self.paths[0]), self._read)[1]

    @property
    def pyramid(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """As of `Sprite`."""
        return self._cache.get(("animation pyramid", self.paths[0]), self._middle)

    def textures(self, level: int, indices: np.ndarray) -> np.ndarray:
        """The pictures `indices` at level `level` of the pyramid, uint8 n x h x w x 4, colours continued outwards."""
        result = []
        for index in indices:
            rgba = halve_cutout(self.frames[index], level)
            result.append(np.dstack([continue_colours(rgba[..., :3], rgba[..., 3]), rgba[..., 3]]))
        return np.stack(result)

    def _read(self) -> tuple[np.ndarray, float]:
        frames = []
        for path in self.paths:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if image is None or image.shape[2:] != (4,):
                raise UserError(f"{path} cannot be read as a picture with alpha channel: remove {path.parent}.")
            frames.append(image[..., [2, 1, 0, 3]])
        stack = np.stack(frames)
        seen = (stack[..., 3] > 127).any(0)
        if not seen.any():
            raise UserError(f"{self.paths[0].parent} shows nothing but transparent pictures: remove it.")
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        stack = stack[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        stack = np.stack([limit_cutout(frame, LARGEST_SPRITE) for frame in stack])
        stack = np.pad(stack, ((0, 0), (_RIM, _RIM), (_RIM, _RIM), (0, 0)))
        return stack, float((stack[..., 3] > 127).sum() / len(stack))

    def _middle(self) -> list[tuple[np.ndarray, np.ndarray]]:
        levels, shape = 1, self.frames.shape
        while min(shape[1:3]) >> levels >= 12:
            levels += 1
        middle = np.array([shape[0] // 2])
        pictures = [self.textures(level, middle)[0] for level in range(levels)]
        return [(rgba, (rgba[..., 3] > 127).astype(np.uint8)) for rgba in pictures]


def open_animation(folder: Path, cache: PictureCache, *, weight: float = 1.0) -> AnimatedSprite:
    """The PNG files of `folder`, sorted by name, as pictures of one thing; reads their headers only.

    Raises:
        UserError: fewer than two pictures, several sizes, or no alpha channel.
    """
    paths = sorted(p for p in folder.glob("*.png") if is_picture(p))
    if len(paths) < 2:
        raise UserError(f"{folder} holds {len(paths)} PNG pictures, an actor needs 2 or more: add some or remove it.")
    sizes = set()
    for path in paths:
        header = png_header(path)
        if header is None or not header.plain_rgba:
            raise UserError(f"{path} is not an 8-bit PNG with an alpha channel: save it as RGBA or remove {folder}.")
        sizes.add((header.width, header.height))
    if len(sizes) > 1:
        raise UserError(f"The pictures in {folder} have several sizes, {sorted(sizes)}: put them on one canvas.")
    return AnimatedSprite(folder.name, paths, cache, weight=weight)


def play(rng: np.random.Generator, steps: int, count: int) -> np.ndarray:
    """Which of `count` pictures is shown at every step, int T: any start, speed 1/2 to 2, back and forth."""
    period = 2 * (count - 1)
    speed = log_uniform(rng, 0.5, 2) * rng.choice([-1, 1])
    position = np.floor(rng.uniform(0, period) + speed * np.arange(steps)).astype(int) % period
    return np.minimum(position, period - position)
