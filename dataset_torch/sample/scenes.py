"""The eight sequences of the sample: what is in them and how it moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset_torch.sample.ingredients import (
    Landscape,
    cut_out,
    drawing,
    landscape,
    photo_of,
    photograph,
    smooth_noise,
    tiled,
    tinted,
)
from dataset_torch.synthetic import puppet
from dataset_torch.synthetic.actors import Poses
from dataset_torch.synthetic.layers import Layer
from dataset_torch.synthetic.light import CameraEffects
from dataset_torch.synthetic.material import Sprite
from dataset_torch.synthetic.motion import Deformation, random_deformation
from dataset_torch.synthetic.occluders import occluder_sprite
from dataset_torch.synthetic.recipe import Recipe
from dataset_torch.synthetic.render import film
from dataset_torch.synthetic.scenery import Background, Camera, screen_motion


@dataclass
class Stage:
    """A scene while it is being set: its generator, size and length."""

    rng: np.random.Generator
    steps: int
    height: int
    width: int
    clipart: Path
    layers: list[Layer] = field(default_factory=list)

    @property
    def time(self) -> np.ndarray:
        """0 to 1, float [steps]."""
        return np.linspace(0, 1, self.steps)

    def background(
        self, texture: np.ndarray, pan: np.ndarray | float = 0.0, tilt: np.ndarray | float = 0.0
    ) -> Background:
        """The texture (one pixel is one frame pixel), its middle seen first; `pan`, `tilt`: pixels the camera moved."""
        shift = np.stack([np.broadcast_to(pan, self.steps), np.broadcast_to(tilt, self.steps)], axis=1).astype(float)
        shift = shift + self.rng.normal(0, 0.25, shift.shape)  # a hand holds the camera
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        matrices = np.tile(np.eye(3), (self.steps, 1, 1))
        matrices[:, :2, 2] = middle - shift
        camera = Camera(matrices, shift, 0)
        origin = np.array([texture.shape[1] / 2, texture.shape[0] / 2])
        blur = screen_motion(matrices) * 0.35
        return Background(texture, None, 1.0, origin, camera, None, None, blur)

    def poses(
        self,
        x: np.ndarray | float,
        y: np.ndarray | float,
        size: np.ndarray | float,
        *,
        tilt: np.ndarray | float = 0.0,
        aspect: np.ndarray | float = 1.0,
        mirrored: bool = False,
    ) -> Poses:
        """Centre in fractions of the frame, size (root of the area) in fractions of its height, tilt in radians."""
        x, y, size, tilt, aspect = (np.broadcast_to(v, self.steps).astype(float) for v in (x, y, size, tilt, aspect))
        scale = size * self.height
        matrices = np.zeros((self.steps, 3, 3))
        across = scale * aspect * (-1 if mirrored else 1)
        matrices[:, 0, 0], matrices[:, 0, 1] = np.cos(tilt) * across, -np.sin(tilt) * scale
        matrices[:, 1, 0], matrices[:, 1, 1] = np.sin(tilt) * across, np.cos(tilt) * scale
        matrices[:, 0, 2], matrices[:, 1, 2], matrices[:, 2, 2] = x * self.width, y * self.height, 1
        return Poses(matrices, float(scale.max()))

    def add(self, sprite: Sprite, poses: Poses, object_id: int, *, bend: float = 0.0, swing: bool = False) -> Layer:
        """Put a sprite in front of everything so far; `bend`: strength of its deformation, above 0.03 with a hinge."""
        unit_full = np.sqrt(sprite.area)
        level = int(np.clip(np.floor(np.log2(unit_full / poses.largest) + 0.2), 0, len(sprite.pyramid) - 1))
        rgba, _ = sprite.pyramid[level]
        unit = unit_full * rgba.shape[1] / sprite.pyramid[0][0].shape[1]
        parts = (rgba[..., 3] > 127).astype(np.uint8)
        layer = Layer(rgba, parts, unit, poses.matrices, (object_id,), softness=0.5, name=sprite.name)
        layer.blur = screen_motion(poses.matrices) * 0.3
        layer.deformation = Deformation()
        if bend or swing:
            layer.deformation = random_deformation(
                self.rng, self.steps, layer.extent, strength=bend, hinges=1 if bend > 0.03 else 0, swing=swing
            )
        layer.shade = np.stack([0.06 * np.sin(3 * self.time + k + self.rng.uniform(0, 6)) for k in range(3)], axis=1)
        self.layers.append(layer)
        return layer

    def walker(self, poses: Poses, object_id: int, cloth: str) -> None:
        """A jointed figure in front of everything so far."""
        recipe = Recipe(steps=self.steps, height=self.height, width=self.width, motion_blur=1.0, harmonised=0.0)
        photo = photo_of(cloth, photograph(cloth))
        self.layers += puppet.puppet_layers(self.rng, recipe, photo, poses, object_id, np.zeros((1, 1, 3), np.uint8))

    def post(self, x: np.ndarray, size: float, texture: np.ndarray) -> None:
        """An unlabelled pillar from top to bottom."""
        sprite = occluder_sprite(self.rng, photo_of("post", texture), kind=0)
        poses = self.poses(x, 0.5, size)
        poses.matrices[:, 0, 0] *= 1.7
        poses.matrices[:, :2, 1] *= 1.25 / (size * sprite.pyramid[0][1].shape[0] / np.sqrt(sprite.area))
        layer = self.add(sprite, poses, 0)
        layer.shade = None


def _cat(stage: Stage) -> Background:
    """One object, close up: it comes nearer, turns and goes; the ground slides by."""
    t = stage.time
    texture = tiled(tinted(photograph("gravel"), (150, 138, 122)), 330, 800, 0.8).clip(0, 255).astype(np.uint8)
    poses = stage.poses(
        0.28 + 0.45 * t + 0.03 * np.sin(9 * t), 0.6 - 0.1 * np.sin(np.pi * t), 0.28 + 0.42 * np.sin(np.pi * t) ** 2,
        tilt=0.25 * np.sin(5 * t), aspect=1 - 0.25 * t**2,
    )  # fmt: skip
    stage.add(cut_out("chelsea"), poses, 1, bend=0.04)
    return stage.background(texture, pan=60 * t, tilt=12 * np.sin(4 * t))


def _cups(stage: Stage) -> Background:
    """Two cups that look alike cross each other, a third one stays unlabelled."""
    t = stage.time
    texture = tiled(tinted(photograph("brick"), (176, 150, 118), 0.8), 320, 720, 1.0).clip(0, 255).astype(np.uint8)
    cup = cut_out("coffee")
    stage.add(cup, stage.poses(0.5 - 0.02 * t, 0.24, 0.2, tilt=0.4), 0)
    stage.add(cup, stage.poses(0.2 + 0.58 * t, 0.5 + 0.05 * np.sin(6 * t), 0.38, tilt=0.5 * t), 1)
    stage.add(cup, stage.poses(0.8 - 0.6 * t, 0.66 - 0.04 * np.sin(5 * t), 0.42, tilt=-0.6 * t + 0.2, mirrored=True), 2)
    return stage.background(texture, pan=18 * np.sin(3 * t), tilt=8 * t)


def _astronaut(stage: Stage) -> Background:
    """The camera follows one person, who is hidden behind pillars twice."""
    t = stage.time
    look = Landscape(ground="brick", ground_colour=(150, 140, 130), hills=(84, 100, 84), width=1100)
    texture = landscape(stage.rng, look)
    poses = stage.poses(
        0.5 + 0.04 * np.sin(7 * t), 0.58 + 0.015 * np.sin(22 * t), 0.5 + 0.06 * t, tilt=0.05 * np.sin(11 * t)
    )
    stage.add(cut_out("astronaut"), poses, 1, bend=0.015)
    pillar = tinted(photograph("brick"), (135, 92, 74)).clip(0, 255).astype(np.uint8)
    stage.post(1.3 - 2.2 * t, 0.34, pillar)
    stage.post(2.35 - 2.2 * t, 0.4, pillar)
    return stage.background(texture, pan=-230 + 460 * t)


def _road(stage: Stage) -> Background:
    """A car comes near and passes in front of a jeep; the camera pans along."""
    t = stage.time
    texture = landscape(stage.rng, Landscape(road=True, horizon=0.42))
    jeep = drawing("jeep", stage.clipart)
    car = drawing("car", stage.clipart)
    stage.add(jeep, stage.poses(0.72 - 0.4 * t, 0.55 + 0.005 * np.sin(40 * t), 0.24 + 0.04 * t), 2)
    near = t**1.5
    stage.add(car, stage.poses(0.12 + 0.62 * near, 0.6 + 0.14 * near, 0.12 + 0.3 * near, mirrored=True), 1)
    return stage.background(texture, pan=-40 + 110 * t)


def _walkers(stage: Stage) -> Background:
    """Three jointed figures: two cross, the third leaves and comes back."""
    t = stage.time
    look = Landscape(ground="grass", ground_colour=(112, 124, 66), horizon=0.38, sky=((150, 170, 190), (228, 226, 214)))
    texture = landscape(stage.rng, look)
    away = np.clip(1.6 * np.sin(np.pi * t) - 0.3, 0, 1)
    stage.walker(stage.poses(0.82 + 0.32 * away, 0.56, 0.21), 3, "coffee")
    stage.walker(stage.poses(0.18 + 0.4 * t, 0.58, 0.23), 1, "brick")
    stage.walker(stage.poses(0.66 - 0.45 * t, 0.62, 0.27), 2, "chelsea")
    return stage.background(texture, pan=40 * np.sin(2.5 * t))


def _tiger(stage: Stage) -> Background:
    """YouTube: a tiger in the grass; object 2, a walker, appears only in the sixth frame."""
    t = stage.time
    look = Landscape(ground_colour=(128, 122, 70), hills=(92, 98, 58), horizon=0.34)
    texture = landscape(stage.rng, look)
    stage.add(
        drawing("tiger", stage.clipart), stage.poses(0.3 + 0.18 * t, 0.56, 0.46 + 0.06 * t), 1, bend=0.03, swing=True
    )
    arrives = np.where(np.arange(stage.steps) < 5, 2.0, 1.0 - 0.35 * (np.arange(stage.steps) - 5) / (stage.steps - 6))
    stage.walker(stage.poses(arrives, 0.58, 0.24), 2, "astronaut")
    return stage.background(texture, pan=50 * t)


def _fish(stage: Stage) -> Background:
    """YouTube, portrait: a goldfish under water with an unlabelled look-alike."""
    t = stage.time
    down = np.linspace(1, 0.35, 560)[:, None, None]
    water = np.array([70, 128, 140]) * down + 18 * smooth_noise(stage.rng, 560, 420, 4)[..., None]
    stones = tiled(tinted(photograph("gravel"), (96, 110, 96)), 560, 420, 0.9)
    floor = np.clip((np.arange(560) - 380) / 60, 0, 1)[:, None, None]
    texture = np.clip(water * (1 - floor) + stones * floor, 0, 255).astype(np.uint8)
    fish = drawing("goldfish", stage.clipart)
    stage.add(fish, stage.poses(0.7 - 0.3 * t, 0.72 - 0.1 * t, 0.14, tilt=0.2, mirrored=True), 0, bend=0.06)
    stage.add(
        fish,
        stage.poses(0.35 + 0.3 * t, 0.3 + 0.32 * t, 0.2 + 0.06 * np.sin(4 * t), tilt=0.5 * np.sin(4 * t)),
        1,
        bend=0.07,
    )
    return stage.background(texture, tilt=40 * t)


def _motorcycle(stage: Stage) -> Background:
    """YouTube, ids 2 and 5: a motorcycle overtakes a sports car."""
    t = stage.time
    texture = landscape(stage.rng, Landscape(road=True, horizon=0.4, sky=((120, 140, 180), (232, 214, 190))))
    stage.add(drawing("sports-car", stage.clipart), stage.poses(0.62 - 0.2 * t, 0.56, 0.24), 5)
    stage.add(drawing("motorcycle", stage.clipart), stage.poses(0.15 + 0.6 * t, 0.64, 0.3 + 0.05 * t), 2)
    return stage.background(texture, pan=120 * t)


@dataclass(frozen=True)
class Scene:
    """One sequence.  `categories` (id -> word) only for the YouTube layout; `scribbled`: each set's annotated frame."""

    name: str
    steps: int
    build: Callable[[Stage], Background]
    height: int = 240
    width: int = 432
    scribbled: tuple[int, ...] = ()
    categories: tuple[tuple[int, str], ...] = ()


DAVIS_SCENES = (
    Scene("astronaut", 26, _astronaut, scribbled=(2,)),
    Scene("cat", 24, _cat, scribbled=(10,)),
    Scene("cups", 24, _cups, scribbled=(4, 20)),
    Scene("road", 26, _road, scribbled=(14,)),
    Scene("walkers", 24, _walkers, scribbled=(1,)),
)
YOUTUBE_SCENES = (
    Scene("fish", 14, _fish, height=426, width=240, categories=((1, "fish"),)),
    Scene("motorcycle", 12, _motorcycle, height=270, width=480, categories=((2, "motorbike"), (5, "sedan"))),
    Scene("tiger", 14, _tiger, categories=((1, "tiger"), (2, "person"))),
)


def render_scene(scene: Scene, clipart: Path, *, only: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 F x H x W x 3 and masks uint8 F x H x W; always the same.  `only` renders that one frame (F = 1).

    Raises:
        UserError: a drawing is missing.
    """
    seed = [ord(letter) for letter in scene.name]
    stage = Stage(np.random.default_rng(seed), scene.steps, scene.height, scene.width, clipart)
    background = scene.build(stage)
    recipe = Recipe(steps=scene.steps, height=scene.height, width=scene.width, jpeg=0.0, noise=1.0)
    effects = CameraEffects(stage.rng, recipe)
    effects.shadow, effects.sigma = None, min(effects.sigma, 3.0)
    return film(background, stage.layers, effects, recipe, only=only)
