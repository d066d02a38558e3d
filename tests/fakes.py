"""Small stand-ins for tests: a network that segments by colour in microseconds, and videos of moving squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dataset_torch.frames import ArrayFrames
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation


@dataclass(frozen=True)
class ColourFeatures(FrameFeatures):
    pixels: Tensor  # 1 x 3 x H x W, RGB in 0..1


@dataclass(frozen=True)
class ColourMemory(MemoryEntry):
    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("colour",)

    colour: Tensor  # O x 3 x 1 x 1, mean colour under each object's strokes


class ColourNetwork(GuidedNetwork):
    """An object is wherever the colour is near that under its positive strokes.

    Exact on flat squares.  An object without strokes (and without a previous mask) has the colour 10, which matches
    nothing.  The R-score of a frame is 1 / (1 + its mean red), so that tests know the order of the frames.
    """

    architecture: ClassVar[str] = "colour"
    pad_multiple: ClassVar[int] = 8
    image_mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    image_std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    memory_class: ClassVar[type[MemoryEntry]] = ColourMemory

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(400.0))
        self.encoded = 0

    def encode_frame(self, image: Tensor) -> ColourFeatures:
        self.encoded += 1
        return ColourFeatures(image)

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        hint = planes[:, 1:2] + (planes[:, :1] == 1) * 1e-3  # strokes first, the previous mask where there are none
        area = hint.sum(dim=(2, 3), keepdim=True)
        mean = (hint * image).sum(dim=(2, 3), keepdim=True) / area.clamp_min(1e-6)  # O x 3 x 1 x 1
        colour = torch.where(area > 0, mean, torch.full_like(mean, 10.0))
        return Interaction(self._logit(image, colour), colour)

    def memorise(self, features: FrameFeatures, interaction: Interaction) -> ColourMemory:
        return ColourMemory(interaction.object_feature)

    def propagate(
        self,
        query: FrameFeatures,
        neighbour: FrameFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[MemoryEntry],
    ) -> Propagation:
        logit = torch.stack([self._logit(query.pixels, entry.colour) for entry in memory]).amax(dim=0)
        score = 1 / (1 + query.pixels[:, 0].mean())
        return Propagation(torch.sigmoid(logit), score, score.reshape(1, 1, 1, 1), logit)

    def _logit(self, image: Tensor, colour: Tensor) -> Tensor:
        distance = (image - colour).square().sum(dim=1, keepdim=True)  # O x 1 x H x W
        return 6 - self.scale * distance


COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


def squares_video(
    num_frames: int = 6, height: int = 40, width: int = 56, objects: int = 2, side: int = 10
) -> tuple[ArrayFrames, np.ndarray]:
    """Squares of flat colour moving right by two pixels a frame: the frames, and masks uint8 F x H x W."""
    frames = np.full((num_frames, height, width, 3), 128, np.uint8)
    masks = np.zeros((num_frames, height, width), np.uint8)
    for t in range(num_frames):
        for index in range(objects):
            y, x = 3 + index * (side + 2), 4 + 2 * t + index
            frames[t, y : y + side, x : x + side] = COLOURS[index]
            masks[t, y : y + side, x : x + side] = index + 1
    return ArrayFrames(frames, name="squares"), masks
