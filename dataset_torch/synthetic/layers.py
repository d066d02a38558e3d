"""One moving thing of a clip, and drawing it: a sprite's texture warped into the frame.

The backward map (frame pixel -> texture pixel) is computed at a grid of one node per 8 pixels and interpolated, so
deformations may be arbitrary functions and still cost next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from dataset_torch.synthetic.motion import Deformation

CELL = 8


@dataclass
class Layer:
    """A textured sprite and its poses.

    Args:
        texture: RGBA uint8 h x w x 4.
        parts: uint8 h x w, number of the part (from 1).
        unit: texture pixels per sprite unit.
        poses: float T x 3 x 3, sprite units (origin at the texture's centre) -> frame pixels.
        object_ids: object id of part 1, 2, ...; 0 for unlabelled parts.
        deformation: change of shape.
        spin: float T, radians by which the surface has turned about the vertical axis, as on a cylinder.
        blur: float T x 2, pixels of motion while the shutter is open.
        shade: float T x 3, brightness gain 1 + a + b x + c y over the sprite.
        softness: sigma in frame pixels of a blur of the whole layer (defocus, soft edge).
        shadow: opacity of the shadow it throws, 0 for none.
        frames: T pictures shaped like `texture` to show one after the other in its place; None for a still thing.
    """

    texture: np.ndarray
    parts: np.ndarray
    unit: float
    poses: np.ndarray
    object_ids: tuple[int, ...]
    deformation: Deformation = field(default_factory=Deformation)
    spin: np.ndarray | None = None
    blur: np.ndarray | None = None
    shade: np.ndarray | None = None
    softness: float = 0.0
    shadow: float = 0.0
    name: str = ""
    frames: list[np.ndarray] | None = None

    @property
    def extent(self) -> tuple[float, float]:
        """Half the width and height in sprite units."""
        return self.texture.shape[1] / 2 / self.unit, self.texture.shape[0] / 2 / self.unit


@dataclass
class Patch:
    """A rendered layer: colours float32 h x w x 3 (0..255), opacity float32 h x w, object ids uint8 h x w, place."""

    top: int
    left: int
    colour: np.ndarray
    opacity: np.ndarray
    ids: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """The part of the frame it covers."""
        height, width = self.opacity.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def node_grid(left: int, top: int, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame coordinates of the nodes of `columns` x `rows` cells and of one more cell all round; float64 each."""
    x = left - 0.5 + CELL * (np.arange(-1, columns + 1) + 0.5)
    y = top - 0.5 + CELL * (np.arange(-1, rows + 1) + 0.5)
    return np.meshgrid(x, y)


def densify(nodes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Values at the nodes of `node_grid` (rows + 2 x columns + 2 x C) -> float32 height x width x C, interpolated."""
    size = (nodes.shape[1] * CELL, nodes.shape[0] * CELL)
    dense = cv2.resize(nodes.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return dense[CELL : CELL + height, CELL : CELL + width]


def draw(layer: Layer, step: int, height: int, width: int) -> Patch | None:
    """Render the layer in a frame of `height` x `width`; None if nothing of it is there."""
    pose = layer.poses[step]
    texture = layer.texture if layer.frames is None else layer.frames[step]
    box = _bounds(layer, pose, height, width)
    if box is None:
        return None
    left, top, right, bottom = box
    columns, rows = -(-(right - left) // CELL), -(-(bottom - top) // CELL)
    x, y = node_grid(left, top, columns, rows)
    inverse = np.linalg.inv(pose)
    depth = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    u = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / depth
    v = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / depth
    u, v = layer.deformation.backward(u, v, step)
    channels = [u * layer.unit + (layer.texture.shape[1] - 1) / 2, v * layer.unit + (layer.texture.shape[0] - 1) / 2]
    if layer.shade is not None:
        constant, across, down = layer.shade[step]
        channels.append(1 + constant + across * u + down * v)
    if layer.spin is not None:
        # The outline stays, the picture slides; what comes round the edge is the picture mirrored.
        turned = np.sin(np.arcsin(np.clip(u / layer.extent[0], -1, 1)) + layer.spin[step]) * layer.extent[0]
        channels.append(turned * layer.unit + (layer.texture.shape[1] - 1) / 2)
    dense = densify(np.stack(channels, axis=-1), bottom - top, right - left)
    mapping = np.ascontiguousarray(dense[..., :2])
    rgba = cv2.remap(texture, mapping, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    ids = _ids(layer, mapping)
    opacity = rgba[..., 3] * np.float32(1 / 255)
    if layer.spin is not None:
        turned = np.ascontiguousarray(dense[..., [-1, 1]])
        rgba = cv2.remap(texture, turned, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colour = rgba[..., :3].astype(np.float32)
    if layer.shade is not None:
        colour *= np.clip(dense[..., 2:3], 0.3, 1.9)
    colour, opacity = _blurred(layer, step, colour, opacity)
    return Patch(top, left, colour, opacity, ids)


def _bounds(layer: Layer, pose: np.ndarray, height: int, width: int) -> tuple[int, int, int, int] | None:
    """left, top, right, bottom of the frame's part that the layer can touch, with room for deformation and blur."""
    half_width, half_height = layer.extent
    reach = 1.1 if not layer.deformation.hinges and layer.deformation.swing is None else 1.35
    corners = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], float)
    corners[0] *= half_width * reach + 0.1
    corners[1] *= half_height * reach + 0.1
    points = pose @ corners
    if (points[2] <= 1e-3).any():
        return None
    points = points[:2] / points[2]
    margin = 2 + 3 * layer.softness
    if layer.blur is not None:
        margin += np.abs(layer.blur).max() / 2
    left, top = np.floor(points.min(1) - margin).astype(int)
    right, bottom = np.ceil(points.max(1) + margin).astype(int)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return (left, top, right, bottom) if right - left >= 2 and bottom - top >= 2 else None


def _ids(layer: Layer, mapping: np.ndarray) -> np.ndarray:
    if max(layer.object_ids) == 0:
        return np.zeros(mapping.shape[:2], np.uint8)
    if len(layer.object_ids) == 1:
        return np.full(mapping.shape[:2], layer.object_ids[0], np.uint8)
    parts = cv2.remap(layer.parts, mapping, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    table = np.zeros(256, np.uint8)
    table[1 : len(layer.object_ids) + 1] = layer.object_ids
    return cv2.LUT(parts, table)


def line_kernel(motion: np.ndarray) -> np.ndarray | None:
    """Blur kernel of a straight motion (dx, dy) in pixels; None when it is too short to see."""
    length = float(np.hypot(*motion))
    if length < 1.2:
        return None
    radius = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    count = int(np.ceil(length * 2)) + 1
    for position in np.linspace(-0.5, 0.5, count):
        column, row = radius + motion[0] * position, radius + motion[1] * position
        left, top = int(column), int(row)
        fx, fy = column - left, row - top
        kernel[top : top + 2, left : left + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / kernel.sum()


def _blurred(layer: Layer, step: int, colour: np.ndarray, opacity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel = line_kernel(layer.blur[step]) if layer.blur is not None else None
    if kernel is None and layer.softness < 0.3:
        return colour, opacity
    # Premultiplied, so that hidden colours do not bleed in.
    stack = np.dstack([colour * opacity[..., None], opacity])
    if kernel is not None:
        stack = cv2.filter2D(stack, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    if layer.softness >= 0.3:
        stack = cv2.GaussianBlur(stack, (0, 0), layer.softness, borderType=cv2.BORDER_REPLICATE)
    opacity = stack[..., 3]
    return stack[..., :3] / np.maximum(opacity, 1e-3)[..., None], opacity
