"""The one image encoder that both branches share: backbone features turned into everything a frame contributes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.backbone import EfficientNetLite0, Pyramid
from networks.compact.config import CompactConfig
from networks.compact.layers import conv, halved, upsample
from networks.interface import FrameFeatures


@dataclass(frozen=True)
class CompactFeatures(FrameFeatures):
    """What depends on one frame alone, and maybe what comparing it with a neighbour gave; h, w = H/8, W/8."""

    colour: Tensor  # 1 x 3 x H/2 x W/2, of the picture itself, normalised as the network's input is
    skip2: Tensor  # 1 x 8 x H/2 x W/2
    skip4: Tensor  # 1 x 32 x H/4 x W/4
    detail: Tensor  # 1 x 12 x H/4 x W/4, compared between two frames (intersection)
    fine_key: Tensor  # 1 x 16 x H/4 x W/4, unit length: what makes the motion between two frames precise
    context: Tensor  # 1 x 96 x h x w, what the interaction branch and the memory read
    query: Tensor  # 1 x 64 x h x w, this frame's part of the propagation trunk's input
    key: Tensor  # 1 x 96 x h x w, unit length: what both matchings compare
    value: Tensor  # 1 x 16 x h x w, compared before and after transfer (reliability)
    deep16: Tensor  # 1 x 112 x h/2 x w/2, the backbone's own, for the extent of objects
    deep32: Tensor  # 1 x 192 x h/4 x w/4
    flow: Tensor | None = None  # 1 x 2 x H/2 x W/2, offsets into the neighbour it is to be propagated from
    agreement: Tensor | None = None  # 1 x 12 x H/4 x W/4, with that neighbour after the motion, in (0, 1]


class FrameEncoder(nn.Module):
    """Backbone, then light projections.  All of them are per frame, so that a cached frame costs nothing again."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c = config
        self.backbone = EfficientNetLite0()
        self.level8 = nn.Conv2d(40, c.context_channels, 1)
        self.level16 = nn.Conv2d(112, c.context_channels, 1)
        self.level32 = nn.Conv2d(192, c.context_channels, 1)
        self.mix = conv(c.context_channels, c.context_channels)
        self.key = nn.Conv2d(2 * c.context_channels, c.key_channels, 1)
        self.local_key = nn.Conv2d(2 * c.context_channels, c.local_channels, 1)
        self.value = nn.Conv2d(2 * c.context_channels, c.value_channels, 1)
        self.query = conv(2 * c.context_channels, c.trunk_channels, 1)
        self.skip4 = conv(24, c.skip4_channels, 1)
        self.skip2 = conv(16, c.skip2_channels, 1)
        self.detail = nn.Conv2d(24, c.detail_channels, 3, padding=1)
        self.fine_key = nn.Conv2d(24, c.fine_key_channels, 3, padding=1)

    def forward(self, image: Tensor) -> list[CompactFeatures]:
        """`image` B x 3 x H x W normalised -> the features of each of the B frames."""
        inputs = image.contiguous(memory_format=torch.channels_last)
        if self.backbone.stem.weight.dtype == torch.bfloat16:
            pyramid = Pyramid(*(level.float() for level in self.backbone(inputs.bfloat16())))
        else:
            pyramid = self.backbone(inputs)
        deep = upsample(self.level32(pyramid.stride32), 2)
        linear = self.level8(pyramid.stride8) + upsample(self.level16(pyramid.stride16) + deep, 2)  # B x 96 x h x w
        mixed = F.relu(self.mix(F.relu(linear)))
        both = torch.cat([linear, mixed], 1)
        batch = CompactFeatures(
            colour=halved(image.float()),
            skip2=F.relu(self.skip2(pyramid.stride2)),
            skip4=F.relu(self.skip4(pyramid.stride4)),
            detail=self.detail(pyramid.stride4),
            fine_key=F.normalize(self.fine_key(pyramid.stride4).float(), dim=1),
            context=linear + mixed,
            query=self.query(both),
            key=self._key(both),
            value=self.value(both).float(),
            deep16=pyramid.stride16,
            deep32=pyramid.stride32,
        )
        return [batch.map(lambda tensor, i=i: tensor[i : i + 1]) for i in range(image.shape[0])]

    def _key(self, both: Tensor) -> Tensor:
        """Two unit vectors side by side, made a unit vector again.

        One began as the key of the global, the other of the local matching.  On real video each matching does better
        with both (balanced transfer .68 -> .69, local .794 -> .799 of J on seven sequences, true masks given).
        """
        parts = [F.normalize(layer(both).float(), dim=1) for layer in (self.key, self.local_key)]
        return torch.cat(parts, 1) * 0.5**0.5
