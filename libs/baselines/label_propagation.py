"""Baseline: label propagation with the compact network's own frozen backbone features, nothing learned on top.

Labels go where features are alike, as in the usual test of self-supervised features (Jabri et al., NeurIPS 2020; Caron
et al., ICCV 2021): the query's positions take the mean label of the `k` most similar positions in the annotated frames
and, within a window, in the neighbouring frame.  On the annotated frame the strokes are the labels in round 1; later
GrabCut corrects the mask there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from libs.baselines.confidence import confidence, hard_logit
from libs.baselines.grabcut_flow import cut_out, with_rivals
from networks.compact.backbone import EfficientNetLite0
from networks.compact.network import CompactGIS
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation

Level = Literal["stride8", "stride16", "both"]


@dataclass(frozen=True)
class PropagationSettings:
    """Chosen on real sequences for the best J&F of the baseline itself."""

    level: Level = "both"  # backbone features that are compared, on the stride-8 grid
    top_k: int = 20
    temperature: float = 0.1  # of the softmax over cosines
    window: int = 8  # reach in the neighbouring frame, in cells of 8 pixels
    stroke_reach: float = 6.0  # cells over which labels spread at once on the annotated frame
    stroke_steps: int = 20  # how often they do, in round 1
    box_margin: float = 0.25  # without a previous mask: background beyond this share of the strokes' extent around them


@dataclass(frozen=True)
class LabelFeatures(FrameFeatures):
    """What is compared."""

    key: Tensor  # 1 x C x h x w, unit length


@dataclass(frozen=True)
class LabelEntry(MemoryEntry):
    """One annotated frame: what is compared, and the labels there."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("label",)

    key: Tensor  # 1 x C x h x w
    label: Tensor  # O x 4 x h x w, foreground of the quarters of each cell


class LabelPropagation(GuidedNetwork):
    """`backbone` is used as it is; its weights never change."""

    architecture: ClassVar[str] = "label-propagation"
    image_mean: ClassVar[tuple[float, float, float]] = (127 / 255, 127 / 255, 127 / 255)  # as the backbone was trained
    image_std: ClassVar[tuple[float, float, float]] = (128 / 255, 128 / 255, 128 / 255)
    preferred_short_side: ClassVar[int | None] = CompactGIS.preferred_short_side  # these are its features
    negatives_everywhere: ClassVar[bool] = True
    memory_class: ClassVar[type[MemoryEntry]] = LabelEntry

    def __init__(self, backbone: EfficientNetLite0, settings: PropagationSettings | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.settings = settings or PropagationSettings()

    def encode_frame(self, image: Tensor) -> LabelFeatures:
        pyramid = self.backbone(image.contiguous(memory_format=torch.channels_last))
        fine = pyramid.stride8.float()
        deep = F.interpolate(pyramid.stride16.float(), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        parts = {"stride8": [fine], "stride16": [deep], "both": [fine, deep]}[self.settings.level]
        return LabelFeatures(F.normalize(torch.cat([centred(part) for part in parts], 1), dim=1))

    def interact(self, image: Tensor, features: LabelFeatures, planes: Tensor) -> Interaction:
        """Round 1: the strokes' labels spread over the frame.  Later: GrabCut, from the previous mask.

        Features at stride 8 alone cannot correct a mask: with the same strokes they stop far below GrabCut.  From
        nothing they do better than GrabCut, on the real sequences that this was chosen on.
        """
        values = with_rivals(planes.float().cpu().numpy())  # O x 3 x H x W
        if (values[:, 0] == 0.5).all():
            strokes = torch.from_numpy(values[:, 1:]).to(planes.device)  # O x 2 x H x W
            spread = self._spread(features.key, F.max_pool2d(strokes, 8).flatten(2) > 0.5)
            mask = torch.where(strokes[:, :1] > 0.5, 1.0, torch.where(strokes[:, 1:] > 0.5, 0.0, spread))
        else:
            pixels = image[0].permute(1, 2, 0) * 128 + 127  # H x W x 3, RGB
            pixels = pixels.round().clamp(0, 255).byte().cpu().numpy()
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
            mask = torch.from_numpy(np.stack([cut_out(pixels, *one) for one in values]))[:, None].to(planes)
        return Interaction(mask_logit=hard_logit(mask), object_feature=F.avg_pool2d(mask, 8))

    def _spread(self, key: Tensor, seeds: Tensor) -> Tensor:
        """Labels move to alike positions nearby, step by step; those of the seeds stay.  O x 1 x H x W.

        `seeds` bool O x 2 x P: cells with positive and with negative strokes.
        """
        height, width = key.shape[-2:]
        stroked, refused = seeds.unbind(1)  # each O x P
        outside = torch.stack([self._outside(s.view(height, width)) for s in stroked]).flatten(1)
        background = refused | (outside & ~stroked)
        index, weight = self._self_affinity(key)  # P x k each
        label = torch.where(stroked, 1.0, torch.where(background, 0.0, 0.5))
        for _ in range(self.settings.stroke_steps):
            label = (label[:, index] * weight).sum(-1)  # O x P
            label = torch.where(stroked, 1.0, torch.where(background, 0.0, label))
        return F.interpolate(label.view(-1, 1, height, width), scale_factor=8, mode="bilinear", align_corners=False)

    def memorise(self, features: LabelFeatures, interaction: Interaction) -> LabelEntry:
        return LabelEntry(features.key, quarters(interaction.foreground))

    def propagate(
        self,
        query: LabelFeatures,
        neighbour: LabelFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[LabelEntry],
    ) -> Propagation:
        if query is neighbour:  # the annotated frame itself: its own mask is the answer
            foreground = neighbour_foreground
        else:
            foreground = self._carry(query, neighbour, neighbour_foreground, memory)
        score, sure = confidence(foreground)
        return Propagation(foreground, score, F.avg_pool2d(sure, 8).clamp_min(1e-6), foreground)

    def _carry(
        self, query: LabelFeatures, neighbour: LabelFeatures, foreground: Tensor, memory: Sequence[LabelEntry]
    ) -> Tensor:
        """O x 1 x H x W: the mean label of the most similar positions."""
        height, width = query.key.shape[-2:]
        keys = torch.cat([*(m.key.flatten(2)[0] for m in memory), neighbour.key.flatten(2)[0]], 1)  # C x Q
        labels = torch.cat([*(m.label.flatten(2) for m in memory), quarters(foreground).flatten(2)], 2)  # O x 4 x Q
        cosine = query.key.flatten(2)[0].t() @ keys  # P x Q
        cosine[:, -height * width :].masked_fill_(~near(height, width, self.settings.window, keys.device), -2.0)
        best, index = cosine.topk(self.settings.top_k, dim=1)  # P x k
        weight = torch.softmax(best / self.settings.temperature, dim=1)
        carried = (labels[:, :, index] * weight).sum(-1).unflatten(2, (height, width))  # O x 4 x h x w
        fine = F.pixel_shuffle(carried, 2)  # O x 1 x H/4 x W/4
        return F.interpolate(fine, scale_factor=4, mode="bilinear", align_corners=False)

    def _self_affinity(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Index and weight of the `k` positions that each position of a frame listens to: alike, and not far."""
        height, width = key.shape[-2:]
        flat = key.flatten(2)[0]  # C x P
        distance = squared_distance(height, width, key.device)
        score = flat.t() @ flat / self.settings.temperature - distance / (2 * self.settings.stroke_reach**2)
        score.fill_diagonal_(-torch.inf)
        best, index = score.topk(self.settings.top_k, dim=1)
        return index, torch.softmax(best, dim=1)

    def _outside(self, seeds: Tensor) -> Tensor:
        """bool h x w: cells that are well outside of the box around the stroked cells (bool h x w)."""
        out = torch.ones_like(seeds)
        rows, columns = seeds.any(1).nonzero()[:, 0], seeds.any(0).nonzero()[:, 0]
        if len(rows):
            margin = 1 + round(self.settings.box_margin * float(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1))
            top, left = max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0)
            out[top : int(rows[-1]) + margin + 1, left : int(columns[-1]) + margin + 1] = False
        return out


def centred(features: Tensor) -> Tensor:
    """1 x C x h x w -> the same without the frame's mean, unit length: what all positions share tells none apart."""
    return F.normalize(features - features.mean(dim=(2, 3), keepdim=True), dim=1)


def quarters(mask: Tensor) -> Tensor:
    """O x 1 x H x W in [0, 1] -> O x 4 x H/8 x W/8, the mean of each quarter of a cell: finer than the grid."""
    return F.pixel_unshuffle(F.avg_pool2d(mask.float(), 4), 2)


def squared_distance(height: int, width: int, device: torch.device) -> Tensor:
    """P x P float32, squared distance between grid positions, in cells."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([y, x], -1).reshape(-1, 2).float().to(device)  # P x 2
    return (place[:, None] - place[None]).square().sum(-1)


def near(height: int, width: int, reach: int, device: torch.device) -> Tensor:
    """bool P x P: positions at most `reach` cells apart in both directions."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.flatten().to(device), x.flatten().to(device)
    return ((y[:, None] - y[None]).abs() <= reach) & ((x[:, None] - x[None]).abs() <= reach)
