"""Photographs and cut-outs that stay on disk until a clip needs them.

Opening one checks what its header (of a still: its mask) tells and costs a few milliseconds at most; the pixels are
read on first use and kept in a `PictureCache`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dataset_torch.errors import UserError
from dataset_torch.frames import upright_size
from dataset_torch.masks import read_mask, refuse_grey_levels
from dataset_torch.synthetic.cache import PictureCache
from dataset_torch.synthetic.pictures import (
    LARGEST_PHOTO,
    Photo,
    Sprite,
    image_pyramid,
    load_cutout,
    make_sprite,
    paint_over,
    read_photo,
    shrink,
    touching,
)

_MARGIN = 8  # pixels
_SMALLEST_PHOTO = 8  # pixels of its shorter side; textures are cut from it
SMALLEST_SPRITE = 400  # pixels; smaller ones are a smear when enlarged


class StoredSprite(Sprite):
    """A sprite whose pixels `load` makes; `parts` and `weight` are known beforehand."""

    def __init__(
        self, name: str, load: Callable[[], Sprite], cache: PictureCache, *, parts: int = 1, weight: float = 1.0
    ):
        self.name, self.parts, self.weight = name, parts, weight
        self._load, self._cache = load, cache

    def _whole(self) -> Sprite:
        return self._cache.get(("sprite", id(self)), self._load)

    @property
    def pyramid(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """As of `Sprite`."""
        return self._whole().pyramid

    @property
    def area(self) -> float:
        """As of `Sprite`."""
        return self._whole().area

    @property
    def centre(self) -> tuple[float, float]:
        """As of `Sprite`."""
        return self._whole().centre

    @property
    def scale(self) -> float:
        """As of `Sprite`."""
        return self._whole().scale


class StoredPhoto(Photo):
    """A photograph without known objects."""

    def __init__(self, name: str, path: Path, cache: PictureCache):
        self.name, self.sprites = name, []
        self._path, self._cache = path, cache

    @property
    def pyramid(self) -> list[np.ndarray]:
        """As of `Photo`."""
        return self._cache.get(("photo", self._path), self._read)

    def _read(self) -> list[np.ndarray]:
        return image_pyramid(shrink(read_photo(self._path), LARGEST_PHOTO))

    @property
    def labels(self) -> np.ndarray | None:
        """As of `Photo`."""
        return None

    @property
    def filled(self) -> list[np.ndarray] | None:
        """As of `Photo`."""
        return None


class StoredStill(StoredPhoto):
    """A photograph whose objects are known by a palette mask."""

    def __init__(self, name: str, path: Path, mask_path: Path, cache: PictureCache):
        super().__init__(name, path, cache)
        self._mask_path = mask_path

    def _read(self) -> list[np.ndarray]:
        return image_pyramid(read_photo(self._path))

    def _mask(self) -> np.ndarray:
        return self._cache.get(("mask", self._path), partial(read_mask, self._mask_path))

    @property
    def labels(self) -> np.ndarray:
        """As of `Photo`."""
        mask = self._mask()
        return np.where(mask == 255, 0, mask)

    @property
    def filled(self) -> list[np.ndarray]:
        """As of `Photo`."""
        return self._cache.get(("filled", self._path), self._fill)

    def _fill(self) -> list[np.ndarray]:
        return image_pyramid(paint_over(self.pyramid[0], self._mask() > 0))

    def cut(self, name: str, group: list[int]) -> Sprite:
        """The objects of `group` as one sprite; object k of the group is part k."""
        image, mask = self.pyramid[0], self._mask()
        # Only the part with the objects, and a margin for the blur: a fraction of the time, the same sprite.
        inside = np.isin(mask, group)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        top, left = max(rows[0] - _MARGIN, 0), max(columns[0] - _MARGIN, 0)
        window = slice(top, rows[-1] + 1 + _MARGIN), slice(left, columns[-1] + 1 + _MARGIN)
        image, mask = image[window], mask[window]
        opacity = sum(cv2.GaussianBlur((mask == i).astype(np.float32), (0, 0), 0.8) for i in group)
        parts = np.zeros_like(mask)
        for number, object_id in enumerate(group, start=1):
            parts[mask == object_id] = number
        rgba = np.dstack([image, np.rint(np.minimum(opacity, 1) * 255).astype(np.uint8)])
        sprite = make_sprite(name, rgba, parts, weight=1.0)
        sprite.centre = (sprite.centre[0] + left, sprite.centre[1] + top)
        return sprite


def open_background(path: Path, cache: PictureCache) -> Photo:
    """A photograph to put things on.

    Raises:
        UserError: it is no image, or a tiny one.
    """
    size = _image_size(path)
    if min(size) < _SMALLEST_PHOTO:
        raise UserError(f"{path} is {size[1]} x {size[0]} pixels, too small for a background: remove it.")
    return StoredPhoto(path.stem, path, cache)


def open_still(path: Path, root: Path, cache: PictureCache) -> Photo:
    """A photograph and its palette mask; every object and every group of touching objects becomes a sprite.

    Raises:
        UserError: unreadable, no mask, a mask of another size or without an object.
    """
    mask_path = root / "Annotations" / path.parent.name / f"{path.stem}.png"
    if not mask_path.is_file():
        raise UserError(f"{path} has no mask: {mask_path} is missing.")
    size, mask = _image_size(path), read_mask(mask_path)
    if mask.shape != size:
        raise UserError(f"{mask_path} is {mask.shape}, its photograph {size}: they must have the same size.")
    if min(size) < _SMALLEST_PHOTO:
        raise UserError(f"{path} is {size[1]} x {size[0]} pixels, too small for a still: remove it.")
    refuse_grey_levels(mask, mask_path)
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    ids = [i for i in range(1, 255) if pixels[i]]
    if not ids:
        raise UserError(f"{mask_path} holds no object.")
    still = StoredStill(path.parent.name, path, mask_path, cache)
    for group in [[i] for i in ids] + touching(mask, ids):
        name = f"{still.name}-" + "+".join(map(str, group))
        if pixels[group].sum() >= SMALLEST_SPRITE:
            still.sprites.append(StoredSprite(name, partial(still.cut, name, group), cache, parts=len(group)))
    return still


def open_cutout(path: Path, cache: PictureCache, *, weight: float) -> Sprite:
    """A PNG with alpha channel.

    Raises:
        UserError: unreadable, or without transparency; a picture that is transparent all over is noticed here if it
            is all of one colour, else when it is used.
    """
    load = partial(load_cutout, path, weight=weight)
    header = png_header(path)
    if header is None or not header.plain_rgba or path.stat().st_size < 1024 + header.height * header.width // 100:
        load()
    return StoredSprite(path.stem, load, cache, weight=weight)


class PngHeader:
    """Size and kind of a PNG file; `plain_rgba`: 8 bits, with an alpha channel."""

    def __init__(self, data: bytes):
        self.width, self.height, depth, kind = struct.unpack(">IIBB", data[16:26])
        self.plain_rgba = (depth, kind) == (8, 6)


def png_header(path: Path) -> PngHeader | None:
    """What the first bytes of a PNG file tell (about 20 us); None if it is none."""
    with open(path, "rb") as file:
        data = file.read(26)
    return PngHeader(data) if len(data) == 26 and data.startswith(b"\x89PNG\r\n\x1a\n") else None


def _image_size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header, turned as the camera was held."""
    try:
        width, height = upright_size(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}).") from error
    return height, width
