"""Small drawing helpers: text, strokes and tiles, all on uint8 H x W x 3 RGB images."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dataset_torch.atomic import write_atomic
from dataset_torch.masks import COLOUR_BLIND_PALETTE, overlay
from libs.interactions import FrameAnnotation

INK = (32, 36, 44)
MUTED = (105, 112, 125)
ACCENT = (214, 93, 14)  # what was annotated
PROPOSED = (23, 107, 160)  # what was proposed
SCORE = (184, 134, 11)  # R-scores
PAPER = (255, 255, 255)
_SUPERSAMPLING = 3  # strokes are drawn three times as large and averaged down, which smooths their edges


def as_hex(colour: tuple[int, int, int]) -> str:
    """The colour as matplotlib and CSS write it, such as `#d65d0e`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, so that no system font is needed."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def thumbnail(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image (or, for H x W, a mask by nearest neighbour) at this size."""
    if image.ndim == 2:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


def overlay_tile(image: np.ndarray, mask: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """A thumbnail with the objects of the mask in colour; `None` = the plain image."""
    small = thumbnail(image, height, width)
    return (
        small
        if mask is None
        else overlay(small, thumbnail(mask, height, width), alpha=0.5, palette=COLOUR_BLIND_PALETTE)
    )


def draw_annotation(image: np.ndarray, annotation: FrameAnnotation) -> np.ndarray:
    """The strokes and clicks of an annotation over an image; background strokes are white with a dark rim."""
    height, width = image.shape[:2]
    scale = _SUPERSAMPLING
    canvas = Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    line = max(2, round(min(height, width) / 55)) * scale
    size = np.array([width * scale, height * scale])
    strokes = [(_colour(s.object_id), [tuple(p) for p in s.points * size]) for s in annotation.scribbles]
    # The rims of all strokes first, so that no rim crosses another stroke.
    for rim in (True, False):
        for colour, points in strokes:
            _stroke(draw, points, INK if rim else colour, line + 2 * scale if rim else line)
        for click in annotation.clicks:
            radius = line * 0.9 + (scale if rim else 0)
            x, y = click.x * size[0], click.y * size[1]
            fill = PAPER if rim else _colour(click.object_id)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: tuple, width: int) -> None:
    if len(points) > 1:
        draw.line(points, fill=colour, width=width, joint="curve")
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=colour)


def _colour(object_id: int) -> tuple[int, int, int]:
    """Lighter than the overlay's colour, so that a stroke is seen on its own object."""
    if object_id == 0:
        return PAPER
    return tuple(int(v) for v in (COLOUR_BLIND_PALETTE[object_id].astype(int) + 255) // 2)


def write_image(path: str | Path, image: np.ndarray, *, quality: int = 88) -> Path:
    """Write an RGB image atomically, as JPEG or PNG by its suffix."""
    buffer = io.BytesIO()
    if Path(path).suffix.lower() == ".png":
        Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    else:
        Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return write_atomic(path, buffer.getvalue())


def spread(count: int, frames: Iterable[int], num_frames: int) -> list[int]:
    """At most `count` different frames in order of time: evenly spaced ones, moved so that `frames` are among them.

    The first of `frames` have priority when there are more than `count`.
    """
    count = min(count, num_frames)
    chosen = np.linspace(0, num_frames - 1, count).round().astype(int)
    fixed = np.zeros(count, bool)
    for frame in dict.fromkeys(frames):
        if fixed.all():
            break
        nearest = int(np.argmin(np.where(fixed, num_frames, np.abs(chosen - frame))))
        chosen[nearest], fixed[nearest] = frame, True
    return sorted(chosen.tolist())
