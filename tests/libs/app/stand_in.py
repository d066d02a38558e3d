"""A network that segments by colour: fast, deterministic, and right on flat synthetic frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dataset_torch.frames import ArrayFrames
from libs.segmenter import Segmenter
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation

COLOURS = {1: (220, 40, 40), 2: (40, 60, 220), 3: (240, 220, 40)}  # of the squares; their ids are the object ids


@dataclass(frozen=True)
class ColourFeatures(FrameFeatures):
    image: Tensor  # 1 x 3 x H x W


@dataclass(frozen=True)
class ColourInteraction(Interaction):
    colour: Tensor  # O x 3


@dataclass(frozen=True)
class ColourMemory(MemoryEntry):
    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("colour",)

    colour: Tensor  # O x 3


class ColourNetwork(GuidedNetwork):
    """An object is everything that has the mean colour of its positive scribbles (or of its previous mask)."""

    architecture = "colour"
    pad_multiple = 8
    memory_class = ColourMemory

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(8.0))

    def encode_frame(self, image: Tensor) -> ColourFeatures:
        return ColourFeatures(image)

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> ColourInteraction:
        positive = planes[:, 1:2]  # O x 1 x H x W
        missing = positive.flatten(1).sum(dim=1) == 0
        weights = torch.where(missing[:, None, None, None], planes[:, :1], positive)
        colour = (weights * image).flatten(2).sum(dim=2) / weights.flatten(2).sum(dim=2).clamp(min=1e-6)  # O x 3
        return ColourInteraction(self._logit(image, colour), colour[:, :, None, None], colour)

    def memorise(self, features: FrameFeatures, interaction: Interaction) -> ColourMemory:
        return ColourMemory(interaction.colour)

    def propagate(
        self,
        query: FrameFeatures,
        neighbour: FrameFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[MemoryEntry],
    ) -> Propagation:
        colour = torch.stack([entry.colour for entry in memory]).mean(dim=0)  # O x 3
        foreground = torch.sigmoid(self._logit(query.image, colour))  # O x 1 x H x W
        area = foreground.mean()
        return Propagation(foreground, 0.2 + 0.6 * area, torch.full((1, 1, 1, 1), 0.5))

    def _logit(self, image: Tensor, colour: Tensor) -> Tensor:
        distance = (image - colour[:, :, None, None]).abs().sum(dim=1, keepdim=True)  # O x 1 x H x W
        return self.sharpness * (0.8 - distance)


def make_segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), device="cpu")


def squares(frames: int = 12, height: int = 48, width: int = 64, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """uint8 F x H x W x 3 frames of `count` coloured squares that move to the right, and their ids F x H x W."""
    video = np.full((frames, height, width, 3), 110, np.uint8)
    truth = np.zeros((frames, height, width), np.uint8)
    for frame in range(frames):
        for i in range(1, count + 1):
            top, left = 4 + 14 * (i - 1), 3 + 2 * frame + 5 * (i - 1)
            truth[frame, top : top + 10, left : left + 10] = i
            video[frame, top : top + 10, left : left + 10] = COLOURS[i]
    return video, truth


def square_frames(**sizes: int) -> ArrayFrames:
    return ArrayFrames(squares(**sizes)[0], name="squares")


def stroke_on(frame: int, object_id: int, *, height: int = 48, width: int = 64) -> list[list[float]]:
    """Points of a stroke along the middle of a square."""
    top, left = 4 + 14 * (object_id - 1), 3 + 2 * frame + 5 * (object_id - 1)
    return [[(left + x) / width, (top + 5) / height] for x in (2.5, 5, 7.5)]
