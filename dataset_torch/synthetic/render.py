"""Rendering one synthetic clip, from a seed alone."""

from __future__ import annotations

import cv2
import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.errors import UserError
from dataset_torch.synthetic import puppet
from dataset_torch.synthetic.actors import Poses, choose_sprite, make_layer, random_poses
from dataset_torch.synthetic.crowd import add_crowd
from dataset_torch.synthetic.layers import Layer, draw
from dataset_torch.synthetic.light import CameraEffects
from dataset_torch.synthetic.material import Material, Photo, Sprite
from dataset_torch.synthetic.motion import log_uniform
from dataset_torch.synthetic.occluders import occluder_sprite
from dataset_torch.synthetic.recipe import DEFAULT_RECIPE, Recipe
from dataset_torch.synthetic.scenery import Background, Camera, random_background, random_camera

ATTEMPTS = 20


def render_clip(seed: int | tuple[int, ...], material: Material, recipe: Recipe = DEFAULT_RECIPE) -> Clip:
    """Render a clip of `recipe.steps` frames with masks; the same seed gives the same clip in every process.

    Every object of the result shows at least `recipe.smallest_object` pixels in some frame; it may be hidden or out of
    the picture in others, the first included.  Costs about 0.15 s on one core at 192 x 336 x 8.

    Raises:
        UserError: no object was visible in `ATTEMPTS` scenes (the recipe's sizes are too small).
    """
    rng = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        frames, masks = _render(rng, material, recipe)
        masks = renumber(masks, recipe.smallest_object)
        if masks.any():
            ids = tuple(range(1, int(masks.max()) + 1))
            return Clip(frames, masks, ids, name=f"synthetic-{seed}")
    raise UserError(
        f"no object of {recipe.smallest_object} pixels in {ATTEMPTS} scenes from seed {seed}. Render larger frames "
        "(--size) or larger objects (--set area=LOW,HIGH), or ask for less (--set smallest_object=PIXELS)."
    )


def render_still(rng: np.random.Generator, photo: Photo, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with known objects as a clip: camera motion and a thin-plate deformation of the whole picture.

    Returns frames uint8 T x H x W x 3 and masks uint8 T x H x W with the ids of `photo.labels`.
    """
    background = random_background(rng, recipe, photo, random_camera(rng, recipe), whole=True)
    return film(background, [], CameraEffects(rng, recipe), recipe)


def renumber(masks: np.ndarray, smallest: int) -> np.ndarray:
    """Drop objects that never show `smallest` pixels and number the others 1, 2, ... in the order of their ids."""
    counts = np.stack([np.bincount(mask.reshape(-1), minlength=256) for mask in masks]).max(0)
    keep = [i for i in range(1, 256) if counts[i] >= smallest]
    table = np.zeros(256, np.uint8)
    table[keep] = np.arange(1, len(keep) + 1)
    return table[masks]


def _render(rng: np.random.Generator, material: Material, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    background, layers = _Scene(rng, material, recipe).build()
    return film(background, layers, CameraEffects(rng, recipe), recipe)


def film(
    background: Background, layers: list[Layer], effects: CameraEffects, recipe: Recipe, *, only: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw every frame (or the one named `only`): background, layers back to front, then light and camera.

    Returns frames uint8 T x H x W x 3 and masks uint8 T x H x W.
    """
    steps = range(recipe.steps) if only is None else [only]
    frames = np.empty((len(steps), recipe.height, recipe.width, 3), np.uint8)
    masks = np.empty((len(steps), recipe.height, recipe.width), np.uint8)
    for position, step in enumerate(steps):
        frame, ids = background.draw(step, recipe.height, recipe.width)
        for layer in layers:
            _composite(frame, ids, layer, step)
        frames[position] = effects.apply(frame, step)
        masks[position] = ids
    return frames, masks


def _composite(frame: np.ndarray, ids: np.ndarray, layer: Layer, step: int) -> None:
    """Draw a layer into the float32 frame and its uint8 ids, in place."""
    patch = draw(layer, step, *ids.shape)
    if patch is None:
        return
    if layer.shadow:
        _cast_shadow(frame, patch.opacity, patch.top, patch.left, layer.shadow)
    window = patch.window
    share = patch.opacity[..., None]
    frame[window] += (patch.colour - frame[window]) * share
    region = ids[window]
    np.copyto(region, patch.ids, where=patch.opacity > 0.5)


def _cast_shadow(frame: np.ndarray, opacity: np.ndarray, top: int, left: int, depth: float) -> None:
    """Darken the ground below: the outline squashed to a fifth of its height, sheared and blurred, at quarter size."""
    height, width = frame.shape[:2]
    quarter = (max(1, opacity.shape[1] // 4), max(1, opacity.shape[0] // 4))
    small = cv2.resize(opacity, quarter, interpolation=cv2.INTER_AREA)
    tall = small.shape[0]
    squash, shear = 0.22, 0.5
    bottom = top / 4 + tall
    # (x, y) of the outline -> x sheared by its height above the ground, y squashed towards the ground line
    matrix = np.float32(
        [[1, shear * squash, left / 4 - shear * squash * tall], [0, squash, bottom - squash * tall - 1]]
    )
    shade = cv2.warpAffine(small, matrix, (width // 4, height // 4))
    shade = cv2.GaussianBlur(shade, (0, 0), 1.0)
    frame *= 1 - depth * cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]


class _Scene:
    """The things of one clip while they are being chosen."""

    def __init__(self, rng: np.random.Generator, material: Material, recipe: Recipe):
        self.rng, self.material, self.recipe = rng, material, recipe
        self.camera = random_camera(rng, recipe)
        self.layers: list[list[Layer]] = []
        self.used: list[tuple[Sprite, Poses]] = []
        self.colours = np.zeros((1, 1, 3), np.uint8)
        self.next_id = 1

    def build(self) -> tuple[Background, list[Layer]]:
        """The background and the layers, back to front."""
        rng, recipe, stills = self.rng, self.recipe, self.material.stills
        count = 1 + int(rng.choice(len(recipe.object_counts), p=recipe.object_counts))
        distractors = int(rng.choice(len(recipe.distractor_counts), p=recipe.distractor_counts))
        still = stills[int(rng.integers(len(stills)))] if stills and rng.random() < recipe.still_scene else None
        if still is not None and rng.random() < recipe.still_whole:
            background = self._whole_still(still, count)
            count, distractors = 0, min(distractors, 1)
        elif still is not None:
            background = random_background(rng, recipe, still, self.camera, filled=True)
            self.colours = background.texture[::6, ::6]
            count -= self._still_objects(still, background, count)
        else:
            photos = self.material.photos
            photo = photos[int(rng.integers(len(photos)))]
            background = random_background(rng, recipe, photo, self.camera, filled=bool(rng.random() < 0.6))
            self.colours = background.texture[::6, ::6]
        for _ in range(max(count, 0)):
            self._add(recipe.area, labelled=True)
        for _ in range(distractors):
            self._add(recipe.distractor_area, labelled=False)
        order = rng.permutation(len(self.layers))
        layers = [layer for index in order for layer in self.layers[index]]
        if self.used and rng.random() < recipe.occluder:
            layers.append(self._occluder())
        if rng.random() < recipe.posts:
            layers += [self._post() for _ in range(int(rng.integers(2, 6)))]
        if background.labels is None and rng.random() < recipe.crowd:
            singles = [sprite for photo in stills for sprite in photo.sprites if sprite.parts == 1]
            onlookers = singles or self.material.cutouts or self.material.actors
            if onlookers:
                add_crowd(rng, recipe, background, onlookers)
        return background, layers

    def _whole_still(self, still: Photo, count: int) -> Background:
        """The picture moves as one; up to `count` of its objects are labelled."""
        background = random_background(self.rng, self.recipe, still, self.camera, whole=True)
        self.colours = background.texture[::6, ::6]
        ids = np.flatnonzero(np.bincount(background.labels.reshape(-1), minlength=256)[1:]) + 1
        chosen = self.rng.permutation(ids)[:count]
        table = np.zeros(256, np.uint8)
        if len(chosen) > 1 and self.rng.random() < 0.2:
            table[chosen] = 1
        else:
            table[chosen] = np.arange(1, len(chosen) + 1)
        background.labels = table[background.labels]
        self.next_id = int(table.max()) + 1
        return background

    def _still_objects(self, still: Photo, background: Background, count: int) -> int:
        """Put the still's own objects back where they were, each moving by itself; returns how many were labelled."""
        rng, recipe = self.rng, self.recipe
        texture_scale = background.scale * still.pyramid[0].shape[1] / background.texture.shape[1]
        origin = (background.origin + 0.5) * still.pyramid[0].shape[1] / background.texture.shape[1] - 0.5
        singles = [sprite for sprite in still.sprites if sprite.parts == 1]
        labelled = 0
        for index in rng.permutation(len(singles)):
            sprite = singles[index]
            world = (np.array(sprite.centre) - origin) / texture_scale
            start = world + [(recipe.width - 1) / 2, (recipe.height - 1) / 2]
            if not (-0.1 < start[0] / recipe.width < 1.1 and -0.1 < start[1] / recipe.height < 1.1):
                continue
            size = np.sqrt(sprite.area) / sprite.scale / texture_scale
            extent = _extent(sprite)
            follow = labelled == 0 and rng.random() < recipe.followed
            poses = random_poses(
                rng, recipe, extent, recipe.area, camera=None if follow else self.camera, start=start, size=size
            )
            ids = [self._take_id()] if labelled < count else [0]
            labelled += ids != [0]
            alter = bool(rng.random() < 0.2)
            layer = make_layer(rng, recipe, sprite, poses, ids, scene_colours=self.colours, alter=alter)
            layer.shadow = 0.0
            self.layers.append([layer])
            self.used.append((sprite, poses))
        return labelled

    def _take_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def _add(self, area: tuple[float, float], *, labelled: bool) -> None:
        """One more thing: a sprite, a look-alike of an earlier one, or a jointed figure."""
        rng, recipe = self.rng, self.recipe
        photos = self.material.photos
        follow = labelled and not self.used and rng.random() < recipe.followed
        camera: Camera | None = None if follow else self.camera
        if rng.random() < recipe.puppet:
            poses = random_poses(rng, recipe, puppet.EXTENT, area, camera=camera)
            photo = photos[int(rng.integers(len(photos)))]
            object_id = self._take_id() if labelled else 0
            self.layers.append(puppet.puppet_layers(rng, recipe, photo, poses, object_id, self.colours))
            return
        if self.used and rng.random() < recipe.look_alike:
            sprite = self.used[int(rng.integers(len(self.used)))][0]
        else:
            sprite = choose_sprite(rng, recipe, self.material)
        poses = random_poses(rng, recipe, _extent(sprite), area, camera=camera)
        if not labelled:
            ids = [0]
        elif sprite.parts == 1 or rng.random() < recipe.merge_parts:
            ids = [self._take_id()]
        else:
            ids = [self._take_id() for _ in range(sprite.parts)]
        photo = photos[int(rng.integers(len(photos)))] if rng.random() < recipe.textured else None
        layer = make_layer(
            rng, recipe, sprite, poses, ids, scene_colours=self.colours, texture_photo=photo, rigid=rng.random() < 0.2
        )
        self.layers.append([layer])
        self.used.append((sprite, poses))

    def _occluder(self) -> Layer:
        """Something unlabelled that crosses one of the objects at some step."""
        rng, recipe = self.rng, self.recipe
        _, target = self.used[int(rng.integers(len(self.used)))]
        if rng.random() < 0.4:
            sprite = choose_sprite(rng, recipe, self.material)
        else:
            photos = self.material.photos
            sprite = occluder_sprite(rng, photos[int(rng.integers(len(photos)))])
        extent = _extent(sprite)
        step = int(rng.integers(recipe.steps))
        poses = random_poses(rng, recipe, extent, recipe.distractor_area, camera=self.camera)
        meet = target.matrices[step, :2, 2]
        speed = log_uniform(rng, 0.005, 0.12) * recipe.width * rng.choice([-1, 1])
        time = np.arange(recipe.steps) - step
        if rng.random() < 0.5:  # its own straight way
            poses.matrices[:, 0, 2] = meet[0] + speed * time
            poses.matrices[:, 1, 2] = meet[1] + rng.normal(0, 0.01) * recipe.height * time
        else:  # stands in the foreground: the camera's motion moves it more than the background
            move = self.camera.matrices[:, :2, 2] * rng.uniform(1.2, 2.0)
            poses.matrices[:, :2, 2] = meet + move - move[step]
        return make_layer(
            rng, recipe, sprite, poses, [0], scene_colours=self.colours, rigid=sprite.name.startswith("occluder")
        )

    def _post(self) -> Layer:
        """Something narrow and tall in the foreground; the camera's motion moves it more than the background."""
        rng, recipe = self.rng, self.recipe
        photos = self.material.photos
        sprite = occluder_sprite(rng, photos[int(rng.integers(len(photos)))], kind=0)
        area = (0.01, 0.06)
        poses = random_poses(rng, recipe, _extent(sprite), area)
        height = np.linalg.norm(poses.matrices[:, :2, 1], axis=1, keepdims=True) * 2 * _extent(sprite)[1]
        poses.matrices[:, :2, 1] *= recipe.height * rng.uniform(1.0, 1.8) / height  # from top to bottom
        near = rng.uniform(1.3, 2.5)
        move = self.camera.matrices[:, :2, 2] * near
        reach = max(recipe.width, float(np.ptp(move[:, 0])))
        poses.matrices[:, 0, 2] = move[:, 0] - move[:, 0].mean() + recipe.width / 2 + rng.uniform(-0.7, 0.7) * reach
        poses.matrices[:, 1, 2] = recipe.height * rng.uniform(0.4, 0.6)
        layer = make_layer(rng, recipe, sprite, poses, [0], scene_colours=self.colours, rigid=True)
        layer.shadow = 0.0
        return layer


def _extent(sprite: Sprite) -> tuple[float, float]:
    """Half width and height in units of the square root of the opaque area."""
    height, width = sprite.pyramid[0][1].shape
    unit = np.sqrt(sprite.area)
    return width / 2 / unit, height / 2 / unit
