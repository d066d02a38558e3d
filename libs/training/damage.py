"""Damage done to a neighbour's mask in training.

Chains in training are short; on a long video the mask that arrives from the neighbour has gathered errors.  A network
that has seen damaged masks leans on the annotated frames there instead of passing the error on.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def damage(foreground: Tensor, generator: np.random.Generator) -> Tensor:
    """One random kind of damage to O x 1 x H x W in [0, 1]; the result has no gradient."""
    foreground = foreground.detach()
    kind = generator.integers(6)
    if kind == 0:
        shift = tuple(int(v) for v in generator.integers(-10, 11, 2))
        return torch.roll(foreground, shift, dims=(2, 3))
    if kind == 1:
        size = 2 * int(generator.integers(1, 5)) + 1
        grown = F.max_pool2d(foreground, size, stride=1, padding=size // 2)
        return (
            grown if generator.random() < 0.4 else 1 - F.max_pool2d(1 - foreground, size, stride=1, padding=size // 2)
        )
    if kind == 2:
        return foreground * (1 - blob(foreground, generator))
    if kind == 3:
        row = int(generator.integers(len(foreground)))
        grown = foreground.clone()
        grown[row] = torch.maximum(grown[row], blob(foreground, generator)[0])
        return grown
    if kind == 4:
        size = 2 * int(generator.integers(2, 8)) + 1
        return F.avg_pool2d(foreground, size, stride=1, padding=size // 2, count_include_pad=False)
    if len(foreground) > 1:  # two objects confused
        order = torch.from_numpy(generator.permutation(len(foreground)))
        return foreground + 0.6 * (foreground[order.to(foreground.device)] - foreground)
    return foreground * float(generator.random() * 0.6)


def blob(foreground: Tensor, generator: np.random.Generator) -> Tensor:
    """A filled ellipse near the objects, 1 x 1 x H x W of 0 and 1."""
    height, width = foreground.shape[-2:]
    places = torch.nonzero(foreground.amax((0, 1)) > 0.5)
    if len(places):
        centre = places[int(generator.integers(len(places)))].tolist()
    else:
        centre = [generator.uniform(0, height), generator.uniform(0, width)]
    y = torch.arange(height, device=foreground.device) - centre[0]
    x = torch.arange(width, device=foreground.device) - centre[1]
    radius = generator.uniform(0.04, 0.2, 2) * height
    return ((y[:, None] / radius[0]) ** 2 + (x[None] / radius[1]) ** 2 < 1).float()[None, None]
