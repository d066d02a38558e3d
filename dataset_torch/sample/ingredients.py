"""The public-domain pictures that the sample is made of, and backgrounds built from them.

Photographs come with the scikit-image package, drawings with the Debian package openclipart-png; CREDITS.md names them
and their licences.  `outlines.json` holds outlines of the people and things in the photographs, in pixels (x, y), drawn
for this project.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from dataset_torch.errors import UserError
from dataset_torch.synthetic.material import Photo, Sprite, image_pyramid, load_cutout, make_sprite, shrink

CLIPART = Path("/usr/share/openclipart/png")
_OUTLINES = Path(__file__).with_name("outlines.json")
_DRAWINGS = {
    "car": "transportation/vehicles/road_runner_ganson.png",
    "sports-car": "transportation/sportcar_sergio_luiz_ara_01.png",
    "jeep": "transportation/hummer_05.png",
    "motorcycle": "transportation/motorcycle_jarno_vasama_.png",
    "tiger": "animals/mammals/big_cats/color_tiger_susan_park_01.png",
    "goldfish": "unsorted/pescetto.png",
}


@lru_cache(maxsize=16)
def photograph(name: str) -> np.ndarray:
    """A photograph of scikit-image, uint8 RGB: astronaut, brick, chelsea, coffee, grass, gravel or rocket."""
    image = getattr(skimage.data, name)()
    return np.ascontiguousarray(np.dstack([image] * 3) if image.ndim == 2 else image[..., :3])


def cut_out(name: str) -> Sprite:
    """The person or thing of a photograph inside its outline: astronaut, chelsea (a cat) or coffee (a cup)."""
    image = photograph(name)
    outline = np.array(json.loads(_OUTLINES.read_text())[name], np.int32)
    alpha = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(alpha, [outline], 255, lineType=cv2.LINE_AA)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 1.2)
    return make_sprite(name, np.dstack([image, alpha]), (alpha > 127).astype(np.uint8), weight=1.0)


def check_drawings(folder: Path) -> None:
    """Raise `UserError` unless `folder` has every drawing."""
    for name in _DRAWINGS.values():
        if not (folder / name).is_file():
            raise UserError(
                f"{folder / name} is missing: install the Debian package openclipart-png, or give its folder."
            )


def drawing(name: str, folder: Path = CLIPART) -> Sprite:
    """A drawing of openclipart with some grain, so that it does not look printed.  Raises `UserError` if unreadable."""
    sprite = load_cutout(folder / _DRAWINGS[name])
    rng = np.random.default_rng(len(name))
    for rgba, _ in sprite.pyramid:
        grain = cv2.GaussianBlur(rng.normal(0, 22, rgba.shape[:2]).astype(np.float32), (0, 0), 1.0)
        light = np.linspace(1.08, 0.72, rgba.shape[0], dtype=np.float32)[:, None]
        rgba[..., :3] = np.clip(rgba[..., :3] * light[..., None] + grain[..., None], 0, 255)
    return sprite


def tinted(image: np.ndarray, colour: tuple[int, int, int], contrast: float = 1.0) -> np.ndarray:
    """A grey texture in a colour: float32, its mean brightness becomes the colour, its detail stays."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = 1 + contrast * (grey / grey.mean() - 1)
    return detail[..., None] * np.array(colour, np.float32)


def tiled(texture: np.ndarray, height: int, width: int, scale: float = 1.0) -> np.ndarray:
    """The texture mirrored side by side until it fills `height` x `width`."""
    if scale != 1:
        texture = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    texture = np.concatenate([texture, texture[:, ::-1]], axis=1)
    texture = np.concatenate([texture, texture[::-1]], axis=0)
    rows, columns = -(-height // texture.shape[0]), -(-width // texture.shape[1])
    return np.tile(texture, (rows, columns, 1))[:height, :width]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Noise of about unit spread in four octaves, float32 height x width, `cells` bumps across at the coarsest."""
    total = np.zeros((height, width), np.float32)
    for octave in range(4):
        number = cells * 2**octave
        bumps = rng.standard_normal((max(2, number * height // width), number)).astype(np.float32)
        total += cv2.resize(bumps, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return total


@dataclass(frozen=True)
class Landscape:
    """What `landscape` draws: colours 0 to 255, the horizon as a fraction of the height."""

    height: int = 320
    width: int = 1000
    horizon: float = 0.45
    sky: tuple[tuple[int, int, int], tuple[int, int, int]] = ((105, 150, 205), (215, 225, 230))
    ground: str = "grass"
    ground_colour: tuple[int, int, int] = (96, 118, 58)
    hills: tuple[int, int, int] = (70, 92, 62)
    trees: bool = True
    road: bool = False


def landscape(rng: np.random.Generator, look: Landscape) -> np.ndarray:
    """Sky with clouds, hills, trees and a ground in perspective; uint8 RGB."""
    height, width = look.height, look.width
    line = int(look.horizon * height)
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = np.array(look.sky[0], np.float32) * (1 - down) + np.array(look.sky[1], np.float32) * down
    image = np.repeat(image, width, axis=1)
    clouds = np.clip(smooth_noise(rng, height, width, 5) * 0.5, 0, 1)[..., None]
    image = image * (1 - 0.7 * clouds) + 245 * 0.7 * clouds
    leaves = tiled(tinted(photograph("grass"), look.hills, 1.2), height, width, 0.5)
    ridge = line - 12 - 14 * (1 + smooth_noise(rng, 1, width, 6)[0])
    rows = np.arange(height, dtype=np.float32)[:, None]
    image = np.where((rows > ridge)[..., None], 0.75 * leaves + 0.25 * np.array(look.sky[1], np.float32), image)
    ground = _ground(tinted(photograph(look.ground), look.ground_colour), height - line, width)
    if look.road:
        road = _ground(tinted(photograph("gravel"), (120, 116, 112), 0.7), height - line, width)
        y = np.linspace(0, 1, height - line)[:, None]
        on_road = (y > 0.25 + 0.02 * np.sin(np.arange(width) / 60)) & (y < 0.8)
        ground = np.where(on_road[..., None], road, ground)
    image[line:] = ground
    if look.trees:
        for _ in range(width // 70):
            _tree(rng, image, leaves, line)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.6), 0, 255).astype(np.uint8)


def _ground(texture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The texture lying flat before the camera, float32 height x width x 3."""
    texture = tiled(texture, 1024, 2048, 0.7)
    y = np.linspace(0.08, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    along = 90 / y + 0 * x
    across = 1024 + x * width * (0.55 + 0.45 / y)
    flat = cv2.remap(
        texture, across.astype(np.float32), along.astype(np.float32), cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
    )
    return flat * (0.85 + 0.25 * y[..., None])


def _tree(rng: np.random.Generator, image: np.ndarray, leaves: np.ndarray, line: int) -> None:
    """A round tree with a trunk on the horizon, drawn in place."""
    size = int(rng.integers(18, 52))
    column, top = int(rng.integers(0, image.shape[1] - 2 * size)), max(0, line + int(rng.integers(2, 16)) - 2 * size)
    y, x = np.mgrid[-1 : 1 : 1j * 2 * size, -1 : 1 : 1j * 2 * size]
    crown = (x**2 + (y * 1.1 + 0.25) ** 2 + 0.25 * smooth_noise(rng, 2 * size, 2 * size, 5)) < 0.55
    trunk = (np.abs(x) < 0.07) & (y > 0.2)
    region = image[top : top + 2 * size, column : column + 2 * size]
    crown, trunk = crown[: region.shape[0]], trunk[: region.shape[0]]
    shade = (0.55 + 0.35 * rng.random()) * (
        1 - 0.35 * y[: region.shape[0], :, None] - 0.2 * x[: region.shape[0], :, None]
    )
    region[trunk] = (62, 50, 40)
    region[crown] = (leaves[top : top + region.shape[0], column : column + 2 * size] * shade)[crown]


def photo_of(name: str, image: np.ndarray) -> Photo:
    """A picture as the renderer's `Photo`, at most 960 pixels wide."""
    return Photo(name, image_pyramid(shrink(image, 960)))
