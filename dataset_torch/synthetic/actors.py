"""Sprites that move: choosing them, colouring them, giving them a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dataset_torch.parts import recolour_parts
from dataset_torch.synthetic.animation import AnimatedSprite, play
from dataset_torch.synthetic.layers import Layer
from dataset_torch.synthetic.light import match_colours, recolour
from dataset_torch.synthetic.material import Material, Photo, Sprite, image_pyramid
from dataset_torch.synthetic.motion import away_and_back, log_uniform, random_deformation, travel, wander
from dataset_torch.synthetic.recipe import Recipe
from dataset_torch.synthetic.scenery import Camera, screen_motion


@dataclass
class Poses:
    """Where something is in every frame: `matrices` float T x 3 x 3, sprite units -> frame pixels; its largest size."""

    matrices: np.ndarray
    largest: float


def choose_sprite(rng: np.random.Generator, recipe: Recipe, material: Material) -> Sprite:
    """An actor, a sprite of a still or a cut-out, by the recipe's shares and the sprites' weights."""
    actors = material.actors  # without any nothing is drawn for them, so clips of such material do not change
    if actors and (not (material.cutouts or material.stills) or rng.random() < recipe.animated):
        return _weighted(rng, actors)
    stills = [sprite for photo in material.stills for sprite in photo.sprites]
    pool = stills if stills and (not material.cutouts or rng.random() < recipe.still_sprite) else material.cutouts
    sprite = _weighted(rng, pool)
    if recipe.recoloured_parts > 0 and rng.random() < recipe.recoloured_parts:
        sprite = _partly_recoloured(rng, sprite)
    return sprite


def _partly_recoloured(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """The sprite with a part of every object in it in another colour."""
    rgba, parts = sprite.pyramid[0]
    colours = recolour_parts(np.ascontiguousarray(rgba[..., :3]), parts, rng)
    levels = image_pyramid(np.dstack([colours, rgba[..., 3]]), smallest=12)
    pyramid = [(level, smaller) for level, (_, smaller) in zip(levels, sprite.pyramid)]
    return Sprite(sprite.name, pyramid, sprite.area, sprite.parts, sprite.weight, sprite.centre, sprite.scale)


def _weighted(rng: np.random.Generator, pool: Sequence[Sprite]) -> Sprite:
    weights = np.array([sprite.weight for sprite in pool])
    return pool[int(rng.choice(len(pool), p=weights / weights.sum()))]


def random_poses(
    rng: np.random.Generator,
    recipe: Recipe,
    extent: tuple[float, float],
    area: tuple[float, float],
    *,
    camera: Camera | None = None,
    start: np.ndarray | None = None,
    size: float | None = None,
) -> Poses:
    """A path through the frame with changing size, tilt, aspect and perspective.

    `extent` half width and height in sprite units; `area` range of the opaque area as fraction of the frame.  `camera`:
    the thing stands or walks in the world, else it stays with the frame.  `start`: where it is (frame pixels), `size`
    its size, when they are given.
    """
    steps, height, width = recipe.steps, recipe.height, recipe.width
    if size is None:
        size = np.sqrt(log_uniform(rng, *area) * height * width)
    size = min(size, 1.1 * height / (2 * extent[1]), 1.0 * width / (2 * extent[0]))
    growth = rng.uniform(0, 0.12) * wander(rng, steps)
    if rng.random() < recipe.big_scale_change:
        growth = growth + rng.uniform(0.3, np.log(4)) * (travel(rng, steps) - 0.5) * rng.choice([-1, 1])
    scale = size * np.exp(growth)
    scale = np.minimum(scale, 1.3 * height / (2 * extent[1]))
    path = _path(rng, recipe, scale, extent)
    if start is not None:
        reference = camera.reference if camera is not None else 0
        path = path - path[reference] + start
    tilt = rng.normal(0, 0.1) + rng.normal(0, 0.2) * wander(rng, steps)
    if rng.random() < 0.1:
        tilt = tilt + rng.normal(0, 1.5) * travel(rng, steps)
    aspect = np.full(steps, np.exp(rng.normal(0, 0.08)))
    if rng.random() < recipe.turning:
        aspect = aspect * (1 - rng.uniform(0.1, 0.55) * (0.5 + 0.5 * wander(rng, steps)))
    flip = -1 if start is None and rng.random() < 0.5 else 1
    matrices = np.zeros((steps, 3, 3))
    cosine, sine = np.cos(tilt), np.sin(tilt)
    matrices[:, 0, 0], matrices[:, 0, 1] = cosine * scale * aspect * flip, -sine * scale
    matrices[:, 1, 0], matrices[:, 1, 1] = sine * scale * aspect * flip, cosine * scale
    matrices[:, :2, 2] = path
    matrices[:, 2, 2] = 1
    if rng.random() < 0.3:
        local = np.tile(np.eye(3), (steps, 1, 1))
        local[:, 2, 0] = rng.normal(0, 0.12) * wander(rng, steps) / max(extent[0], 1)
        local[:, 2, 1] = rng.normal(0, 0.08) * wander(rng, steps) / max(extent[1], 1)
        matrices = matrices @ local
    if camera is not None:
        to_world = np.linalg.inv(camera.matrices[camera.reference])
        matrices = camera.matrices @ to_world @ matrices
    return Poses(matrices, float(scale.max()))


def _path(rng: np.random.Generator, recipe: Recipe, scale: np.ndarray, extent: tuple[float, float]) -> np.ndarray:
    """Centre of the sprite in frame pixels, float T x 2."""
    steps, height, width = recipe.steps, recipe.height, recipe.width
    size = np.array([width, height], float)
    base = size * [rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.75)]
    speed = log_uniform(rng, *recipe.speed) * width
    angle = rng.normal(0, 0.35) + (np.pi if rng.random() < 0.5 else 0)
    direction = np.array([np.cos(angle), np.sin(angle)])
    total = min(speed * (steps - 1), 0.9 * width)
    if rng.random() < 0.5:
        path = base + total * (travel(rng, steps) - 0.5)[:, None] * direction
    else:
        reach = min(0.35 * width, 0.6 * total)
        turns = speed * (steps - 1) / (2 * np.pi * reach) if reach > 0 else 0.0  # a single frame goes nowhere
        periods = float(np.clip(turns, 0.3, 2.5))
        path = base + reach * wander(rng, steps, periods=periods)[:, None] * direction
        path[:, 1] += 0.4 * min(reach, 0.5 * height) * wander(rng, steps, periods=periods)
    if rng.random() < recipe.leaves_and_returns:
        side = rng.choice([-1, 1]) if rng.random() < 0.8 else 0
        beyond = np.array([side, 0 if side else rng.choice([-1, 1])]) * (
            size / 2 + np.array(extent) * scale.mean() * 1.1
        )
        out = size / 2 + beyond
        share = away_and_back(rng, steps)[:, None]
        path = path * (1 - share) + out * share
    return path


def make_layer(
    rng: np.random.Generator,
    recipe: Recipe,
    sprite: Sprite,
    poses: Poses,
    object_ids: Sequence[int],
    *,
    scene_colours: np.ndarray,
    texture_photo: Photo | None = None,
    rigid: bool = False,
    alter: bool = True,
) -> Layer:
    """Dress a sprite for the scene and give it a deformation, blur and shading.

    `object_ids`: one id per part, or a single one for all; `scene_colours` uint8 pixels of the background;
    `texture_photo` replaces the sprite's picture inside its outline; `alter=False` keeps colours as they are.
    """
    unit_full = np.sqrt(sprite.area)
    level = int(np.clip(np.floor(np.log2(unit_full / poses.largest) + 0.2), 0, len(sprite.pyramid) - 1))
    rgba, parts = sprite.pyramid[level]
    order = None
    if isinstance(sprite, AnimatedSprite):
        shown, order = np.unique(play(rng, recipe.steps, len(sprite.paths)), return_inverse=True)
        # All pictures one below the other: whatever happens to the colours happens to all of them alike.
        rgba = np.concatenate(sprite.textures(level, shown))
    rgb, alpha = rgba[..., :3], rgba[..., 3]
    opaque = alpha > 127
    if texture_photo is not None:
        rgb = _photo_texture(rng, texture_photo, rgb, 1 if order is None else len(shown))
    if alter:
        if rng.random() < recipe.recoloured:
            rgb = recolour(rgb, rng)
        if rng.random() < recipe.harmonised:
            rgb = match_colours(rgb, opaque, scene_colours, rng.uniform(0.15, 0.8))
    unit = unit_full * rgba.shape[1] / sprite.pyramid[0][0].shape[1]
    if len(object_ids) == 1 and order is None:
        parts = opaque.astype(np.uint8)
    rgba = np.dstack([rgb, alpha])
    pictures = [rgba] if order is None else np.split(rgba, len(shown))
    layer = Layer(pictures[0], parts, unit, poses.matrices, tuple(object_ids), name=sprite.name)
    if order is not None:
        layer.frames = [pictures[index] for index in order]
        if not rigid:  # it moves its limbs and turns by itself
            strength = 0.4 * rng.uniform(*recipe.deformation)
            layer.deformation = random_deformation(
                rng, recipe.steps, layer.extent, strength=strength, hinges=0, swing=False
            )
    elif not rigid:
        layer.deformation = random_deformation(
            rng,
            recipe.steps,
            layer.extent,
            strength=rng.uniform(*recipe.deformation),
            hinges=int(rng.integers(1, 3)) if rng.random() < recipe.hinges else 0,
            swing=bool(rng.random() < recipe.swing),
        )
    if order is None and rng.random() < recipe.spin:
        layer.spin = rng.uniform(0.2, 1.3) * wander(rng, recipe.steps)
    dress(rng, recipe, layer)
    return layer


def dress(rng: np.random.Generator, recipe: Recipe, layer: Layer) -> None:
    """Motion blur, defocus, shading and shadow of a layer, drawn in place."""
    if rng.random() < recipe.motion_blur:
        layer.blur = screen_motion(layer.poses) * rng.uniform(0.1, 0.5)
    layer.softness = rng.uniform(0.8, 1.8) if rng.random() < recipe.object_defocus else rng.uniform(0.25, 0.7)
    if rng.random() < recipe.shade_change:
        steps = recipe.steps
        amounts = rng.uniform(0.02, 0.3, 3)
        layer.shade = np.stack(
            [rng.normal(0, 0.5 * a) + a * wander(rng, steps) * (0.7 if k == 0 else 1) for k, a in enumerate(amounts)],
            axis=1,
        )
    if rng.random() < recipe.shadow:
        layer.shadow = rng.uniform(0.2, 0.6)


def _photo_texture(rng: np.random.Generator, photo: Photo, rgb: np.ndarray, copies: int) -> np.ndarray:
    """A random window of the photograph, half mixed with the sprite's light and dark.

    `rgb` holds `copies` pictures one below the other; all get the same window.
    """
    source = photo.pyramid[min(1, len(photo.pyramid) - 1)]
    height, width = rgb.shape[0] // copies, rgb.shape[1]
    share = rng.uniform(0.2, 0.8)
    tall, wide = max(8, int(source.shape[0] * share)), max(8, int(source.shape[1] * share))
    top, left = rng.integers(0, source.shape[0] - tall + 1), rng.integers(0, source.shape[1] - wide + 1)
    texture = cv2.resize(source[top : top + tall, left : left + wide], (width, height), interpolation=cv2.INTER_AREA)
    texture = np.tile(texture, (copies, 1, 1))
    if rng.random() < 0.5:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
        texture = np.clip(texture * (0.4 + grey / 128 * 0.6), 0, 255).astype(np.uint8)
    return texture
