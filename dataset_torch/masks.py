"""Masks on disk and on screen: palette PNGs of object ids (0 = background, 255 = void in some data sets)."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError


def _davis_palette() -> np.ndarray:
    """256 x 3 uint8; the bit-interleaved colour map of PASCAL VOC, which DAVIS uses."""
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            for channel in range(3):
                palette[index, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return palette


DAVIS_PALETTE = _davis_palette()

# Okabe & Ito's eight colours, told apart with every common colour-vision deficiency; repeated for more objects.
COLOUR_BLIND_PALETTE = np.zeros((256, 3), np.uint8)
_OKABE_ITO = [
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
]
for _index in range(1, 256):
    COLOUR_BLIND_PALETTE[_index] = _OKABE_ITO[(_index - 1) % len(_OKABE_ITO)]


def read_mask(path: str | Path) -> np.ndarray:
    """Read an object-id mask: uint8 H x W from a palette or 8-bit grey PNG.

    Raises `UserError` if the file is missing, unreadable, or an RGB picture (colours cannot be turned into ids safely).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"mask {path} does not exist. Every annotated frame needs a PNG mask of the same name."
        ) from error
    except OSError as error:
        raise UserError(f"mask {path} cannot be read ({error}). Restore the file; it may be truncated.") from error
    return decode_mask(data, str(path))


def decode_mask(data: bytes, name: str) -> np.ndarray:
    """`read_mask` for the bytes of a file; `name` is what error messages call it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if image.mode in ("1", "L", "P"):
                return np.asarray(image, dtype=np.uint8)  # of a picture of one bit 0 and 1
            mode = image.mode
    except UnidentifiedImageError as error:  # its own message names an object in memory
        raise UserError(f"mask {name} cannot be read: it is no picture. Give a palette or 8-bit grey PNG.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"mask {name} cannot be read ({error}). Restore the file; it may be truncated.") from error
    raise UserError(
        f"mask {name} is a {mode} picture, not object ids. Save it as a palette or 8-bit grey PNG whose pixel values "
        "are the object ids (0 = background)."
    )


def refuse_grey_levels(mask: np.ndarray, path: str | Path) -> None:
    """Raise `UserError` if the mask looks like grey levels (a soft outline, an opacity), not like object ids."""
    if looks_grey(mask) and not _has_palette(path):
        raise UserError(
            f"mask {path} holds grey levels (a soft outline?), not object ids: each of them would be an object. Save "
            "it with hard edges: 0 for background, 1, 2, .. for the objects."
        )


def looks_grey(mask: np.ndarray) -> bool:
    """Whether values between 0 and 255 lie next to other values all over, as on a soft outline; objects have insides.

    uint8 H x W.  One or two such values count only beside a large 255, lest a few thin objects are taken for it.
    """
    between = (mask > 0) & (mask < 255)
    count = np.count_nonzero(between)
    if not count:
        return False
    square = np.ones((3, 3), np.uint8)
    inside = cv2.erode(mask, square) == cv2.dilate(mask, square)  # what lies among its like
    if np.count_nonzero(inside & between) >= 0.05 * count:
        return False
    values = np.count_nonzero(np.bincount(mask.reshape(-1), minlength=256)[1:255])
    return values >= 3 or np.count_nonzero(inside & (mask == 255)) > count


def _has_palette(path: str | Path) -> bool:
    """Whether a picture's values are entries of a palette, which grey levels never are."""
    with Image.open(path) as image:
        return image.mode == "P"


def encode_mask(mask: np.ndarray, palette: np.ndarray = DAVIS_PALETTE) -> bytes:
    """PNG bytes (palette mode) of a uint8 H x W mask of object ids."""
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"a mask is uint8 H x W, got {mask.dtype} {mask.shape}")
    image = Image.fromarray(mask)  # putpalette turns it into a palette image
    image.putpalette(palette.astype(np.uint8).ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def write_mask(path: str | Path, mask: np.ndarray, palette: np.ndarray = DAVIS_PALETTE) -> None:
    """Write a uint8 H x W mask of object ids as palette PNG, atomically."""
    write_atomic(path, encode_mask(mask, palette))


def resize_ids(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 H x W of ids -> height x width: the id that covers most of each pixel.

    So it lies where the picture lies that was resized by `cv2.INTER_AREA` or `cv2.INTER_LINEAR`.  OpenCV's nearest
    neighbour takes the upper left pixel of those that one pixel stands for: masks would lie up to half a pixel lower
    and to the right, and a network that is trained on them draws them there.
    """
    if mask.shape == (height, width):
        return mask
    ids = np.unique(mask)
    shrinks = height <= mask.shape[0] and width <= mask.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized, largest = np.full((height, width), ids[0], np.uint8), np.zeros((height, width), np.float32)
    for object_id in ids if len(ids) > 1 else ():
        share = cv2.resize((mask == object_id).astype(np.float32), (width, height), interpolation=method)
        resized[share > largest] = object_id
        np.maximum(largest, share, out=largest)
    return resized


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    alpha: float = 0.5,
    contours: bool = True,
    palette: np.ndarray = DAVIS_PALETTE,
) -> np.ndarray:
    """Colour the objects of `mask` over `image`.

    `image` uint8 H x W x 3 RGB, `mask` uint8 H x W; returns uint8 H x W x 3.  `contours` draws one-pixel white
    outlines, so that an object is seen also where its colour is near its surroundings'.
    """
    out = image.astype(np.float32)
    inside = mask > 0
    out[inside] = (1 - alpha) * out[inside] + alpha * palette[mask[inside]]
    out = np.clip(out + 0.5, 0, 255).astype(np.uint8)
    if contours:
        edge = np.zeros(mask.shape, bool)
        edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
        edge[:-1] |= mask[:-1] != mask[1:]
        out[edge] = 255
    return out
