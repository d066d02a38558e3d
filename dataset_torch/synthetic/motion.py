"""Smooth random functions of time, and non-rigid deformations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between `low` and `high`, every factor equally likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def wander(rng: np.random.Generator, steps: int, *, periods: float = 1.0) -> np.ndarray:
    """A smooth curve, float [steps], largest absolute value 1: three sinusoids of random phase below `periods`."""
    time = np.linspace(0, 1, steps)
    curve = np.zeros(steps)
    for _ in range(3):
        frequency = rng.uniform(0.2, 1.0) * periods
        curve += rng.normal() * np.sin(2 * np.pi * (frequency * time + rng.uniform()))
    return curve / max(np.abs(curve).max(), 1e-6)


def travel(rng: np.random.Generator, steps: int) -> np.ndarray:
    """From 0 to 1, float [steps], at an even or changing speed."""
    time = np.linspace(0, 1, steps)
    style = rng.integers(4)
    if style == 0:
        return time
    if style == 1:
        return time * time * (3 - 2 * time)
    if style == 2:
        return time ** rng.uniform(1.2, 2.2)
    return 1 - (1 - time) ** rng.uniform(1.2, 2.2)


def away_and_back(rng: np.random.Generator, steps: int) -> np.ndarray:
    """0, then up to 1 for about a third of the time, then 0 again, float [steps]; may start or end away."""
    time = np.linspace(0, 1, steps)
    middle, width = rng.uniform(0.15, 0.85), rng.uniform(0.12, 0.25)
    return 1 / (1 + np.exp((np.abs(time - middle) - width) / 0.05))


@dataclass
class Hinge:
    """The part of a sprite beyond a line bends about a point of it; angles in radians, float [steps]."""

    point: np.ndarray
    direction: np.ndarray
    softness: float
    angle: np.ndarray


@dataclass
class Deformation:
    """A change of shape over time, as backward map in sprite units (1 = square root of the opaque area).

    Waves: `amplitude` M x 2, `wave` M x 2 (radians per unit), `phase` M, `rate` M (radians per frame).
    """

    amplitude: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    wave: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    phase: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rate: np.ndarray = field(default_factory=lambda: np.zeros(0))
    hinges: list[Hinge] = field(default_factory=list)
    swing: tuple[float, float, float, float, float] | None = None  # amplitude, start, waves per unit, phase, rate

    def backward(self, x: np.ndarray, y: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Where in the undeformed sprite the points (x, y) of the deformed one come from; float arrays of one shape."""
        for hinge in self.hinges:
            x, y = _bend(hinge, x, y, step)
        if self.swing is not None:
            amplitude, start, waves, phase, rate = self.swing
            depth = np.maximum(y - start, 0)
            x = x + amplitude * depth * np.sin(waves * x + phase + rate * step)
        dx, dy = 0.0, 0.0
        for amplitude, wave, phase, rate in zip(self.amplitude, self.wave, self.phase, self.rate):
            value = np.sin(wave[0] * x + wave[1] * y + phase + rate * step)
            dx, dy = dx + amplitude[0] * value, dy + amplitude[1] * value
        return x + dx, y + dy


def _bend(hinge: Hinge, x: np.ndarray, y: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    dx, dy = x - hinge.point[0], y - hinge.point[1]
    beyond = dx * hinge.direction[0] + dy * hinge.direction[1]
    weight = np.clip(beyond / hinge.softness, 0, 1)
    angle = hinge.angle[step] * weight * weight * (3 - 2 * weight)
    cosine, sine = np.cos(angle), np.sin(angle)
    return hinge.point[0] + cosine * dx - sine * dy, hinge.point[1] + sine * dx + cosine * dy


def random_deformation(
    rng: np.random.Generator,
    steps: int,
    extent: tuple[float, float],
    *,
    strength: float,
    hinges: int,
    swing: bool,
) -> Deformation:
    """Waves of about `strength` in sprite units, up to two hinges, limbs that swing.

    `extent` is half the sprite's width and height in sprite units.
    """
    number = int(rng.integers(2, 5))
    wave = rng.normal(0, 2.2, (number, 2))
    # Amplitude times wave number below 1/2 in sum keeps the map free of folds.
    size = np.minimum(strength, 0.45 / number / (np.linalg.norm(wave, axis=1) + 1e-3))
    angle = rng.uniform(0, 2 * np.pi, number)
    deformation = Deformation(
        amplitude=np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1),
        wave=wave,
        phase=rng.uniform(0, 2 * np.pi, number),
        rate=rng.normal(0, 0.5, number),
    )
    for _ in range(hinges):
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)])
        reach = abs(direction[0]) * extent[0] + abs(direction[1]) * extent[1]
        point = direction * reach * rng.uniform(0.0, 0.5)
        bend = rng.uniform(0.1, 0.7) * wander(rng, steps) + rng.normal(0, 0.1)
        deformation.hinges.append(Hinge(point, direction, rng.uniform(0.25, 0.6) * reach, bend))
    if swing:
        start = extent[1] * rng.uniform(-0.2, 0.4)
        if rng.random() < 0.25:  # arms or antlers instead of legs: the same upside down is done by flipping the sprite
            start = -extent[1]
        waves = rng.uniform(1.0, 5.0) / max(extent[0], 0.2)
        amount = min(rng.uniform(0.1, 0.5), 0.8 / max(waves * (extent[1] - start), 1e-3))
        deformation.swing = (amount, start, waves, rng.uniform(0, 6.3), rng.uniform(0.3, 1.6) * rng.choice([-1, 1]))
    return deformation


class ThinPlate:
    """A thin-plate spline that changes over time, as backward map.

    Args:
        control: float N x 2, control points.
        displacement: float T x N x 2, where each of them is drawn from, relative to itself.
    """

    def __init__(self, control: np.ndarray, displacement: np.ndarray):
        self.control = control
        number = len(control)
        system = np.zeros((number + 3, number + 3))
        system[:number, :number] = _plate_kernel(control[:, None], control[None])
        system[:number, number:] = np.column_stack([np.ones(number), control])
        system[number:, :number] = system[:number, number:].T
        padded = np.concatenate([displacement, np.zeros((len(displacement), 3, 2))], axis=1)
        self.weights = np.linalg.solve(system, padded.transpose(1, 0, 2).reshape(number + 3, -1))
        self.weights = self.weights.reshape(number + 3, len(displacement), 2).transpose(1, 0, 2)

    def backward(self, x: np.ndarray, y: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the points (x, y) come from; float arrays of one shape.  Exact at the control points."""
        points = np.stack([x, y], axis=-1)
        basis = _plate_kernel(points[..., None, :], self.control)
        basis = np.concatenate([basis, np.ones(x.shape)[..., None], points], axis=-1)
        moved = basis @ self.weights[step]
        return x + moved[..., 0], y + moved[..., 1]


def _plate_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """r^2 log r^2 of the distances r between points (last axis 2)."""
    squared = ((first - second) ** 2).sum(-1)
    return squared * np.log(np.maximum(squared, 1e-12))


def random_thin_plate(
    rng: np.random.Generator, steps: int, extent: tuple[float, float], *, strength: float
) -> ThinPlate:
    """Four by three control points over +-`extent` that wander by about `strength`."""
    x, y = np.meshgrid(np.linspace(-extent[0], extent[0], 4), np.linspace(-extent[1], extent[1], 3))
    control = np.stack([x.ravel(), y.ravel()], axis=1)
    control = control + rng.normal(0, 0.1, control.shape) * extent
    displacement = np.stack([wander(rng, steps) for _ in range(control.size)], axis=1)
    displacement = displacement.reshape(steps, *control.shape) * strength * rng.normal(0, 1, control.shape)
    return ThinPlate(control, displacement)
