"""The pictures clips are made of, in memory: photographs, cut-outs and the groundwork to make them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dataset_torch.errors import UserError
from dataset_torch.masks import resize_ids

LARGEST_SPRITE = 400  # pixels; the largest an object gets in a 192 x 336 frame is about this
LARGEST_PHOTO = 960


@dataclass
class Sprite:
    """Something cut out of a photograph.

    `pyramid[k]` is (RGBA uint8 h x w x 4, parts uint8 h x w) at 1 / 2**k of the full size; colours are continued under
    the transparent parts, so interpolation makes no halo.  `parts` numbers the objects in the sprite from 1 (0
    outside).
    `area` is the number of opaque pixels at level 0.
    """

    name: str
    pyramid: list[tuple[np.ndarray, np.ndarray]]
    area: float
    parts: int = 1
    weight: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)  # of the box, in pixels of the still it was cut from
    scale: float = 1.0  # pixels of level 0 per pixel of the still


@dataclass
class Photo:
    """A photograph as image pyramid (uint8 RGB), with the object ids of the full picture where they are known.

    `sprites` are the photograph's own objects, `filled` the pyramid with those objects painted over.
    """

    name: str
    pyramid: list[np.ndarray]
    labels: np.ndarray | None = None
    sprites: list[Sprite] = field(default_factory=list)
    filled: list[np.ndarray] | None = None


def load_cutout(path: Path, *, weight: float = 1.0) -> Sprite:
    """Read a PNG with alpha channel as a sprite of at most `LARGEST_SPRITE` pixels.

    Raises:
        UserError: unreadable, or without transparency.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise UserError(f"{path} is not an 8-bit picture with an alpha channel: remove it from the cut-outs.")
    image = np.ascontiguousarray(image[..., [2, 1, 0, 3]])
    opaque = image[..., 3] > 127
    if not opaque.any():
        raise UserError(f"{path} is transparent all over: remove it from the cut-outs.")
    return make_sprite(path.stem, image, opaque.astype(np.uint8), weight=weight)


def read_photo(path: Path) -> np.ndarray:
    """The picture as uint8 RGB, turned as the camera was held.

    Raises:
        UserError: it cannot be read, or only in part.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-4096:]:  # no end of a JPEG, or much behind it
        _refuse_truncated(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # more pixels than OpenCV takes
        image = None
    if image is None:
        raise UserError(f"{path} cannot be read as an image.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _refuse_truncated(path: Path, data: bytes) -> None:
    """OpenCV fills up with grey what a truncated file lacks; Pillow says so."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read ({error}). Restore or remove the file.") from error


def shrink(image: np.ndarray, largest: int) -> np.ndarray:
    """The picture with its longer side at most `largest` pixels."""
    factor = largest / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def image_pyramid(image: np.ndarray, smallest: int = 48) -> list[np.ndarray]:
    """The picture and its halves, down to a shorter side of at least `smallest` pixels."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * smallest:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return levels


def make_sprite(name: str, rgba: np.ndarray, parts: np.ndarray, *, weight: float) -> Sprite:
    """Crop to the object, continue its colours outwards, add a transparent rim and build the pyramid.

    `rgba` uint8 h x w x 4, `parts` uint8 h x w numbering the objects from 1.
    """
    rows, columns = np.flatnonzero(parts.any(1)), np.flatnonzero(parts.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    rgba, parts = rgba[top:bottom, left:right], parts[top:bottom, left:right]
    width = right - left
    rgba = limit_cutout(rgba, LARGEST_SPRITE)
    scale = rgba.shape[1] / width
    rgba = np.dstack([continue_colours(rgba[..., :3], rgba[..., 3]), rgba[..., 3]])
    parts = resize_ids(parts, *rgba.shape[:2])
    # A transparent rim, so that interpolation beyond the border fades out.
    rgba = cv2.copyMakeBorder(rgba, 4, 4, 4, 4, cv2.BORDER_REPLICATE)
    rgba[:4, :, 3] = rgba[-4:, :, 3] = rgba[:, :4, 3] = rgba[:, -4:, 3] = 0
    parts = cv2.copyMakeBorder(parts, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=0)
    levels = image_pyramid(rgba, smallest=12)
    pyramid = [(level, resize_ids(parts, *level.shape[:2])) for level in levels]
    return Sprite(
        name,
        pyramid,
        area=float((rgba[..., 3] > 127).sum()),
        parts=int(parts.max()),
        weight=weight,
        centre=((left + right) / 2, (top + bottom) / 2),
        scale=scale,
    )


def limit_cutout(rgba: np.ndarray, largest: int) -> np.ndarray:
    """Shrink to `largest` pixels; weighted by opacity, so that colours under the transparent part do not mix in."""
    if max(rgba.shape[:2]) <= largest:
        return rgba
    alpha = rgba[..., 3:].astype(np.float32)
    return _unweighted(shrink(np.dstack([rgba[..., :3] * alpha, alpha]), largest))


def halve_cutout(rgba: np.ndarray, times: int) -> np.ndarray:
    """The RGBA picture at 1 / 2**times of its size, weighted as in `limit_cutout`."""
    if times == 0:
        return rgba
    alpha = rgba[..., 3:].astype(np.float32)
    size = (rgba.shape[1] >> times, rgba.shape[0] >> times)
    return _unweighted(cv2.resize(np.dstack([rgba[..., :3] * alpha, alpha]), size, interpolation=cv2.INTER_AREA))


def _unweighted(small: np.ndarray) -> np.ndarray:
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return np.clip(np.rint(np.dstack([colour, small[..., 3]])), 0, 255).astype(np.uint8)


def continue_colours(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours of the opaque part, blurred outwards under the transparent part."""
    weight = (alpha > 200).astype(np.float32)
    if not weight.any():
        weight = (alpha > 0).astype(np.float32)
    result = rgb.astype(np.float32)
    known = weight > 0
    size = (rgb.shape[1], rgb.shape[0])
    for factor, sigma in ((1, 2.0), (4, 3.0), (16, 3.0)):  # far from the border a coarse colour will do
        small = (max(1, size[0] // factor), max(1, size[1] // factor))
        stack = cv2.resize(np.dstack([rgb * weight[..., None], weight]), small, interpolation=cv2.INTER_AREA)
        stack = cv2.resize(cv2.GaussianBlur(stack, (0, 0), sigma), size, interpolation=cv2.INTER_LINEAR)
        fill = ~known & (stack[..., 3] > 0.02)
        result[fill] = stack[fill, :3] / stack[fill, 3:]
        known |= fill
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def touching(mask: np.ndarray, ids: list[int]) -> list[list[int]]:
    """Pairs of objects that share a border (a rider and the bicycle), longest border first."""
    kernel = np.ones((5, 5), np.uint8)
    grown = {i: cv2.dilate((mask == i).astype(np.uint8), kernel) > 0 for i in ids}
    pairs = []
    for position, first in enumerate(ids):
        for second in ids[position + 1 :]:
            border = int((grown[first] & grown[second]).sum())
            if border > 150:
                pairs.append((-border, [first, second]))
    return [pair for _, pair in sorted(pairs)][: len(ids)]


def paint_over(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The picture with `hole` filled from around it: smooth colour by inpainting plus grain borrowed from elsewhere."""
    hole = cv2.dilate(hole.astype(np.uint8), np.ones((9, 9), np.uint8))
    factor = 8
    small_size = (max(1, image.shape[1] // factor), max(1, image.shape[0] // factor))
    small_hole = (cv2.resize(hole, small_size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    small_hole = cv2.dilate(small_hole, np.ones((3, 3), np.uint8))
    small = cv2.inpaint(cv2.resize(image, small_size, interpolation=cv2.INTER_AREA), small_hole, 3, cv2.INPAINT_TELEA)
    smooth = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    outside = cv2.blur(image, (2 * factor + 1, 2 * factor + 1)).astype(np.float32)
    detail = (image.astype(np.float32) - outside) * (1 - hole)[..., None]
    # Detail mirrored from the other side: keeps the hole from looking airbrushed.
    mirrored = detail[:, ::-1]
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 3)[..., None]
    return np.clip(image * (1 - soft) + (smooth + mirrored) * soft, 0, 255).astype(np.uint8)
