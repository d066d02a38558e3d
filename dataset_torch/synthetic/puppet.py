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
    figure = _Figure(rng, recipe.steps, photo, float(np.clip(poses.largest, 12, 120)), object_id)
    sway = rng.normal(0, 0.2) + rng.uniform(0, 0.3) * wander(rng, recipe.steps)
    body = poses.matrices @ _rotation(sway)
    figure.legs(body)
    figure.trunk(body)
    figure.arms(body)
    return _dress_alike(rng, recipe, figure.layers, scene_colours)


class _Figure:
    """A figure while its limbs are being hung on; lengths are in units in which it is about 2.5 tall."""

    def __init__(self, rng: np.random.Generator, steps: int, photo: Photo, unit: float, object_id: int):
        self.rng, self.photo, self.unit, self.object_id = rng, photo, unit, object_id
        self.layers: list[Layer] = []
        self.steps, self.step = steps, np.arange(steps)
        self.build = rng.uniform(0.8, 1.25)  # slim or stout
        self.skin = _SKIN[rng.integers(len(_SKIN))] * rng.uniform(0.8, 1.1)
        self.bare_arms, self.bare_legs = rng.random() < 0.5, rng.random() < 0.3
        self.shirt, self.trousers = _cloth(rng, photo), _cloth(rng, photo)
        self.gait = rng.uniform(0.1, 0.9)
        self.raised = 0.0
        self.rate, self.phase = rng.uniform(0.4, 1.8), rng.uniform(0, 6.3)

    def stride(self, offset: float) -> np.ndarray:
        """The angle of a swinging limb, float [steps]."""
        return self.gait * np.sin(self.rate * self.step + self.phase + offset)

    def limb(
        self,
        parent: np.ndarray,
        joint: tuple[float, float],
        angle: np.ndarray,
        size: tuple[float, float],
        cloth: np.ndarray,
    ) -> np.ndarray:
        """Hang a limb of `size` (length, thickness) at `joint` of the parent's frame; returns its far end's frame."""
        length, thick = size
        local = _rotation(angle)
        local[:, :2, 2] = joint
        frame = parent @ local
        middle = np.eye(3)
        middle[1, 2] = length / 2
        texture = _capsule(self.rng, cloth, length + thick, thick, self.unit)
        alpha = (texture[..., 3] > 127).astype(np.uint8)
        self.layers.append(Layer(texture, alpha, self.unit, frame @ middle, (self.object_id,), name="puppet"))
        end = np.eye(3)
        end[1, 2] = length
        return frame @ end

    def legs(self, body: np.ndarray) -> None:
        """Thighs, shins and feet in step."""
        rng = self.rng
        for side, offset in ((-1, 0.0), (1, np.pi)):
            cloth = self.skin if self.bare_legs else self.trousers
            swing = self.stride(offset) + rng.normal(0, 0.1)
            knee = self.limb(body, (0.14 * side * self.build, 0.25), swing, (0.55, 0.2 * self.build), cloth)
            cloth = self.skin if self.bare_legs and rng.random() < 0.8 else self.trousers
            ankle = self.limb(knee, (0, 0), np.abs(self.stride(offset + 1)) * 0.9, (0.55, 0.14 * self.build), cloth)
            foot = np.full(self.steps, -1.3 if rng.random() < 0.5 else 1.3)
            self.limb(ankle, (0, 0), foot, (0.14, 0.11), _cloth(rng, self.photo))

    def trunk(self, body: np.ndarray) -> None:
        """Torso, neck and head; how far the arms are raised is drawn here, too."""
        rng, upright = self.rng, np.full(self.steps, np.pi)
        self.limb(body, (0, 0.25), upright, (0.75, 0.46 * self.build), self.shirt)
        self.raised = rng.uniform(0, 2.6) if rng.random() < 0.3 else rng.uniform(0, 0.6)
        self.limb(body, (0, -0.62), upright, (0.12, 0.14), self.skin)
        nod = np.pi + rng.uniform(0, 0.3) * wander(rng, self.steps)
        self.limb(body, (0, -0.82), nod, (0.1, 0.28), _hair(rng, self.skin))

    def arms(self, body: np.ndarray) -> None:
        """Arms that swing against the legs, hanging or raised; sometimes a stick in one hand."""
        rng = self.rng
        cloth = self.skin if self.bare_arms else self.shirt
        for side, offset in ((-1, np.pi), (1, 0.0)):
            swing = -side * self.raised + self.stride(offset) + 0.3 * wander(rng, self.steps)
            elbow = self.limb(body, (0.24 * side * self.build, -0.5), swing, (0.42, 0.14 * self.build), cloth)
            bend = -side * (rng.uniform(0, 1.2) + 0.4 * wander(rng, self.steps))
            hand = self.limb(elbow, (0, 0), bend, (0.38, 0.1 * self.build), cloth)
            self.limb(hand, (0, 0), np.zeros(self.steps), (0.06, 0.1), self.skin)
            if side == 1 and rng.random() < 0.15:
                angle, length = np.full(self.steps, rng.uniform(-2, 2)), rng.uniform(0.5, 1.3)
                self.limb(hand, (0, 0), angle, (length, 0.05), _cloth(rng, self.photo))


def _dress_alike(
    rng: np.random.Generator, recipe: Recipe, layers: list[Layer], scene_colours: np.ndarray
) -> list[Layer]:
    """One blur and one shading for all limbs, colours towards the scene's; returns the layers."""
    dress(rng, recipe, layers[0])
    harmony = 0.5 * rng.uniform(0.1, 0.6) if rng.random() < recipe.harmonised else 0.0
    for layer in layers:
        layer.blur, layer.shade, layer.softness, layer.shadow = layers[0].blur, layers[0].shade, 0.0, 0.0
        if harmony:
            rgb = match_colours(layer.texture[..., :3], layer.texture[..., 3] > 0, scene_colours, harmony)
            layer.texture = np.dstack([rgb, layer.texture[..., 3]])
    return layers


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
