"""The camera's path and the photograph behind everything."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dataset_torch.masks import resize_ids
from dataset_torch.synthetic.layers import densify, line_kernel, node_grid
from dataset_torch.synthetic.material import Photo
from dataset_torch.synthetic.motion import ThinPlate, log_uniform, random_thin_plate, travel, wander
from dataset_torch.synthetic.recipe import Recipe


@dataclass
class Camera:
    """World pixels (origin in the middle of the frame at the reference step) -> frame pixels.

    `matrices` float T x 3 x 3; `shift` float T x 2 is how far the view has moved in the world, for parallax.
    """

    matrices: np.ndarray
    shift: np.ndarray
    reference: int


def random_camera(rng: np.random.Generator, recipe: Recipe) -> Camera:
    """Pan, zoom, roll and shake; identity at a random reference step, but for the shake."""
    steps, width = recipe.steps, recipe.width
    slowest, fastest = recipe.camera_speed
    if rng.random() < recipe.pursuit:
        slowest = np.sqrt(slowest * fastest)
    speed = log_uniform(rng, slowest, fastest) * width
    angle = rng.normal(0, 0.4) + (np.pi if rng.random() < 0.5 else 0)  # mostly sideways
    if rng.random() < 0.2:
        angle = rng.uniform(0, 2 * np.pi)
    along = travel(rng, steps) if rng.random() < 0.7 else 0.5 * wander(rng, steps, periods=1.5)
    across = 0.15 * wander(rng, steps)
    direction = np.array([np.cos(angle), np.sin(angle)])
    shift = speed * (steps - 1) * (along[:, None] * direction + across[:, None] * direction[::-1] * [-1, 1])
    zoom = rng.normal(0, 0.12) * wander(rng, steps) if rng.random() < 0.6 else np.zeros(steps)
    if rng.random() < 0.15:
        zoom = rng.normal(0, 0.35) * travel(rng, steps)
    roll = rng.normal(0, 0.05) * wander(rng, steps) if rng.random() < 0.5 else np.zeros(steps)
    reference = int(rng.integers(steps))
    shift, zoom, roll = shift - shift[reference], zoom - zoom[reference], roll - roll[reference]
    if rng.random() < 0.4:  # a hand-held camera
        shift = shift + rng.normal(0, rng.uniform(0.3, 3.0), (steps, 2))
        roll = roll + rng.normal(0, 0.006, steps)
    matrices = np.zeros((steps, 3, 3))
    scale = np.exp(zoom)
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale * np.cos(roll)
    matrices[:, 1, 0] = scale * np.sin(roll)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    middle = np.array([(width - 1) / 2, (recipe.height - 1) / 2])
    matrices[:, :2, 2] = middle - np.einsum("tij,tj->ti", matrices[:, :2, :2], shift)
    matrices[:, 2, 2] = 1
    return Camera(matrices, shift, reference)


@dataclass
class Background:
    """A photograph seen through the camera.

    `scale` texture pixels per world pixel, `origin` the texture's pixel at the world's origin; `labels` uint8, same
    size as the texture, if the photograph's own objects are followed.
    """

    texture: np.ndarray
    labels: np.ndarray | None
    scale: float
    origin: np.ndarray
    camera: Camera
    parallax: tuple[float, float, float, float] | None
    deformation: ThinPlate | None
    blur: np.ndarray | None

    def draw(self, step: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The frame, float32 H x W x 3, and the object ids, uint8 H x W."""
        columns, rows = -(-width // 8), -(-height // 8)
        x, y = node_grid(0, 0, columns, rows)
        inverse = np.linalg.inv(self.camera.matrices[step])
        u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        if self.parallax is not None:
            slope, size, wave, phase = self.parallax
            depth = slope * v / height + size * np.sin(wave * u / width + phase)
            u, v = u + depth * self.camera.shift[step, 0], v + depth * self.camera.shift[step, 1]
        if self.deformation is not None:
            u, v = self.deformation.backward(u / height, v / height, step)
            u, v = u * height, v * height
        nodes = np.stack([u * self.scale + self.origin[0], v * self.scale + self.origin[1]], axis=-1)
        mapping = np.ascontiguousarray(densify(nodes, height, width))
        frame = cv2.remap(self.texture, mapping, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        kernel = line_kernel(self.blur[step]) if self.blur is not None else None
        if kernel is not None:
            frame = cv2.filter2D(frame, -1, kernel)
        if self.labels is None:
            ids = np.zeros((height, width), np.uint8)
        else:
            # Beyond the photograph's border its mirror image is seen, and belongs to what it shows.
            ids = cv2.remap(self.labels, mapping, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
        return frame.astype(np.float32), ids


def random_background(
    rng: np.random.Generator, recipe: Recipe, photo: Photo, camera: Camera, *, whole: bool = False, filled: bool = False
) -> Background:
    """Choose the part of the photograph that is seen and how it moves.

    `whole`: its own objects are followed, so most of it is seen and it deforms; `filled`: they are painted over.
    """
    pyramid = photo.filled if filled and photo.filled is not None else photo.pyramid
    full_height, full_width = pyramid[0].shape[:2]
    fit = min(full_width / recipe.width, full_height / recipe.height)
    smallest = 0.75 if whole or filled else min(0.4, max(0.15, 0.6 / fit))
    scale = fit * rng.uniform(smallest, 0.98)
    slack = np.array([full_width - scale * recipe.width, full_height - scale * recipe.height]) / 2
    origin = np.array([full_width, full_height]) / 2 + slack * rng.uniform(-1, 1, 2)
    level = int(np.clip(np.floor(np.log2(max(scale, 1e-3)) + 0.25), 0, len(pyramid) - 1))
    texture = pyramid[level]
    factor = texture.shape[1] / full_width
    labels = resize_ids(photo.labels, *texture.shape[:2]) if whole else None
    if not whole and rng.random() < recipe.background_defocus:
        texture = cv2.GaussianBlur(texture, (0, 0), rng.uniform(0.7, 3.5))
    if rng.random() < 0.5 and not filled:
        texture = np.ascontiguousarray(texture[:, ::-1])
        labels = None if labels is None else np.ascontiguousarray(labels[:, ::-1])
        origin[0] = full_width - 1 - origin[0]
    deformation = None
    if whole:
        extent = (0.5 * recipe.width / recipe.height, 0.5)  # in frame heights
        deformation = random_thin_plate(rng, recipe.steps, extent, strength=log_uniform(rng, 0.005, 0.07))
    parallax = None
    if rng.random() < recipe.parallax:
        parallax = (rng.uniform(0, 0.6), rng.uniform(0, 0.15), rng.uniform(1, 6), rng.uniform(0, 6.3))
    blur = None
    if rng.random() < recipe.motion_blur:
        blur = screen_motion(camera.matrices) * rng.uniform(0.15, 0.6)
    return Background(
        texture, labels, scale * factor, (origin + 0.5) * factor - 0.5, camera, parallax, deformation, blur
    )


def screen_motion(matrices: np.ndarray) -> np.ndarray:
    """Pixels per frame, float T x 2, of the point that `matrices` (T x 3 x 3) map from their origin; at most 30."""
    points = matrices[:, :2, 2] / matrices[:, 2:, 2]
    motion = np.gradient(points, axis=0) if len(points) > 1 else np.zeros_like(points)  # one picture stands still
    length = np.linalg.norm(motion, axis=1, keepdims=True)
    return motion * np.minimum(1, 30 / np.maximum(length, 1e-6))
