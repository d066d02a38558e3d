"""Jointed figures: torso, head and limbs of textured capsules that walk, dance or tumble.

Free cut-outs show few people and none in more than one pose; these give thin parts that bend at joints.
"""

from __future__ import annotations

import cv2
import numpy as np

from dataset_torch.synthetic.actors import Poses, dress
from dataset_torch.synthetic.layers import Layer
from dataset_torch.synthetic.light import match_colours
from dataset_torch.synthetic.material import Photo
from dataset_torch.synthetic.motion import wander
from dataset_torch.synthetic.recipe import Recipe

EXTENT = (0.75, 1.45)  # half width and height of a figure in units whose square is its area, about
_SKIN = np.array([[236, 195, 165], [205, 150, 115], [150, 100, 70], [90, 58, 40], [225, 180, 150]], np.float32)


def puppet_layers(
    rng: np.random.Generator, recipe: Recipe, photo: Photo, poses: Poses, object_id: int, scene_colours: np.ndarray
) -> list[Layer]:
    """The layers of one figure, back to front; its picture comes from `photo` and plain cloth and skin colours."""
    unit = float(np.clip(poses.largest, 12, 120))
    steps = recipe.steps
    build = rng.uniform(0.8, 1.25)  # stout or slim
    skin = _SKIN[rng.integers(len(_SKIN))] * rng.uniform(0.8, 1.1)
    bare_arms, bare_legs = rng.random() < 0.5, rng.random() < 0.3
    shirt, trousers = _cloth(rng, photo), _cloth(rng, photo)
    gait = rng.uniform(0.1, 0.9)
    rate, phase = rng.uniform(0.4, 1.8), rng.uniform(0, 6.3)
    step = np.arange(steps)
    parts: list[tuple[np.ndarray, Layer]] = []

    def limb(
        parent: np.ndarray, joint: tuple[float, float], angle: np.ndarray, length: float, thick: float, cloth
    ) -> np.ndarray:
        """Hang a limb at `joint` of the parent's frame; returns the frame of its far end."""
        local = np.zeros((steps, 3, 3))
        local[:, 0, 0] = local[:, 1, 1] = np.cos(angle)
        local[:, 1, 0], local[:, 0, 1] = np.sin(angle), -np.sin(angle)
        local[:, :2, 2] = joint
        local[:, 2, 2] = 1
        frame = parent @ local
        middle = np.eye(3)
        middle[1, 2] = length / 2
        texture = _capsule(rng, cloth, length + thick, thick, unit)
        alpha = (texture[..., 3] > 127).astype(np.uint8)
        parts.append(Layer(texture, alpha, unit, frame @ middle, (object_id,), name="puppet"))
        end = np.eye(3)
        end[1, 2] = length
        return frame @ end

    body = poses.matrices
    sway = rng.normal(0, 0.2) + rng.uniform(0, 0.3) * wander(rng, steps)
    lean = _rotation(sway)
    body = body @ lean
    for side, offset in ((-1, 0.0), (1, np.pi)):
        swing = gait * np.sin(rate * step + phase + offset)
        hip = limb(
            body,
            (0.14 * side * build, 0.25),
            swing + rng.normal(0, 0.1),
            0.55,
            0.2 * build,
            skin if bare_legs else trousers,
        )
        knee = limb(
            hip,
            (0, 0),
            np.abs(gait * np.sin(rate * step + phase + offset + 1)) * 0.9,
            0.55,
            0.14 * build,
            skin if bare_legs and rng.random() < 0.8 else trousers,
        )
        limb(knee, (0, 0), np.full(steps, -1.3 if rng.random() < 0.5 else 1.3), 0.14, 0.11, _cloth(rng, photo))
    torso = _rotation(np.full(steps, np.pi)).copy()
    torso[:, 1, 2] = 0.25
    limb(body @ torso, (0, 0), np.zeros(steps), 0.75, 0.46 * build, shirt)
    raised = rng.uniform(0, 2.6) if rng.random() < 0.3 else rng.uniform(0, 0.6)
    limb(body, (0, -0.62), np.full(steps, np.pi), 0.12, 0.14, skin)
    limb(body, (0, -0.82), np.pi + rng.uniform(0, 0.3) * wander(rng, steps), 0.1, 0.28, _hair(rng, skin))
    for side, offset in ((-1, np.pi), (1, 0.0)):
        swing = -side * raised + gait * np.sin(rate * step + phase + offset) + 0.3 * wander(rng, steps)
        elbow = limb(body, (0.24 * side * build, -0.5), swing, 0.42, 0.14 * build, skin if bare_arms else shirt)
        hand = limb(
            elbow,
            (0, 0),
            -side * (rng.uniform(0, 1.2) + 0.4 * wander(rng, steps)),
            0.38,
            0.1 * build,
            skin if bare_arms else shirt,
        )
        limb(hand, (0, 0), np.zeros(steps), 0.06, 0.1, skin)
        if side == 1 and rng.random() < 0.15:  # carries a stick
            limb(hand, (0, 0), np.full(steps, rng.uniform(-2, 2)), rng.uniform(0.5, 1.3), 0.05, _cloth(rng, photo))
    blur_from = parts[0]
    dress(rng, recipe, blur_from)
    harmonise = rng.uniform(0.1, 0.6) if rng.random() < recipe.harmonised else 0.0
    for layer in parts:
        layer.blur, layer.shade, layer.softness, layer.shadow = None, blur_from.shade, 0.0, 0.0
        if blur_from.blur is not None:
            layer.blur = blur_from.blur
        if harmonise:
            rgb = match_colours(layer.texture[..., :3], layer.texture[..., 3] > 0, scene_colours, harmonise * 0.5)
            layer.texture = np.dstack([rgb, layer.texture[..., 3]])
    return parts


def _rotation(angle: np.ndarray) -> np.ndarray:
    """float T -> T x 3 x 3."""
    matrices = np.zeros((len(angle), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
    matrices[:, 1, 0], matrices[:, 0, 1] = np.sin(angle), -np.sin(angle)
    matrices[:, 2, 2] = 1
    return matrices


def _cloth(rng: np.random.Generator, photo: Photo) -> np.ndarray:
    """uint8 picture 64 x 64 x 3: a window of the photograph, a plain colour, or stripes."""
    source = photo.pyramid[min(2, len(photo.pyramid) - 1)]
    top, left = rng.integers(0, max(1, source.shape[0] - 32)), rng.integers(0, max(1, source.shape[1] - 32))
    window = cv2.resize(source[top : top + 32, left : left + 32], (64, 64)).astype(np.float32)
    style = rng.random()
    if style < 0.35:
        return np.clip(window, 0, 255).astype(np.uint8)
    colour = rng.uniform(10, 245, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(15, 235)) + rng.normal(0, 15, 3)
    plain = np.broadcast_to(colour, (64, 64, 3)) + 0.35 * (window - window.mean())
    if style > 0.8:
        stripes = np.sin(np.arange(64) * rng.uniform(0.2, 1.2))[:, None, None]
        plain = plain + rng.normal(0, 40, 3) * stripes
    return np.clip(plain, 0, 255).astype(np.uint8)


def _hair(rng: np.random.Generator, skin: np.ndarray) -> np.ndarray:
    """A face under hair or a helmet: skin colour with a darker or coloured far end, float32 64 x 64 x 3."""
    top = rng.uniform(10, 90, 3) if rng.random() < 0.7 else rng.uniform(0, 255, 3)
    share = (np.arange(64)[:, None, None] / 63 > rng.uniform(0.4, 0.8)).astype(np.float32)
    return skin * (1 - share) + top * share + np.zeros((64, 64, 3), np.float32)


def _capsule(rng: np.random.Generator, cloth: np.ndarray, length: float, thick: float, unit: float) -> np.ndarray:
    """RGBA uint8 picture of a rounded, shaded limb; `cloth` is a picture or one colour."""
    height, width = max(4, round(length * unit)) + 4, max(3, round(thick * unit)) + 4
    cloth = np.asarray(cloth, np.float32)
    if cloth.ndim == 1:
        picture = np.broadcast_to(cloth, (height, width, 3)).copy()
    else:
        picture = cv2.resize(cloth, (width, height), interpolation=cv2.INTER_LINEAR)
    across = np.linspace(-1, 1, width, dtype=np.float32)
    picture *= (1.05 - 0.35 * across**2 + rng.normal(0, 0.12) * across)[None, :, None]
    x = np.arange(width, dtype=np.float32) - (width - 1) / 2
    y = np.arange(height, dtype=np.float32) - (height - 1) / 2
    radius = (width - 4) / 2
    beyond = np.maximum(np.abs(y) - (height / 2 - 2 - radius), 0)
    distance = np.sqrt(x[None, :] ** 2 + beyond[:, None] ** 2) - radius
    alpha = np.clip(0.5 - distance, 0, 1)
    return np.dstack([np.clip(picture, 0, 255), alpha * 255]).astype(np.uint8)
