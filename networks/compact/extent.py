"""Where an object ends: what the strokes mean at the scale of whole objects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.config import CompactConfig
from networks.compact.layers import conv, upsample

HEADS = 4


class ExtentBlock(nn.Module):
    """Every position looks around (5x5, per channel), then at all positions, then thinks for itself.

    Each part is added to its input and begins small.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around_norm = nn.GroupNorm(1, channels)
        self.around = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.around_out = conv(channels, channels, 1, gain=0.1)
        self.all_norm = nn.GroupNorm(1, channels)
        self.projections = nn.Conv2d(channels, 3 * channels, 1)
        self.all_out = conv(channels, channels, 1, gain=0.1)
        self.own_norm = nn.GroupNorm(1, channels)
        self.own = nn.Sequential(conv(channels, 2 * channels, 1), nn.GELU(), conv(2 * channels, channels, 1, gain=0.1))

    def forward(self, x: Tensor) -> Tensor:
        """O x C x h x w -> the same."""
        x = x + self.around_out(F.gelu(self.around(self.around_norm(x))))
        x = x + self.all_out(self._attend(self.all_norm(x)))
        return x + self.own(self.own_norm(x))

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        parts = self.projections(x).flatten(2).unflatten(1, (3, HEADS, -1))  # O x 3 x heads x C/heads x P
        query, key, value = parts.transpose(-1, -2).unbind(1)  # each O x heads x P x C/heads
        read = F.scaled_dot_product_attention(query, key, value)
        return read.transpose(-1, -2).flatten(1, 2).unflatten(2, (height, width))


class ObjectExtent(nn.Module):
    """Stride-16 and stride-32 features of the backbone and the strokes' evidence -> a correction of the trunk.

    The trunk sees the backbone through 96 channels that were made for matching; here what it knows about things is
    read directly.  Runs on annotated frames only, so its size costs a propagated frame nothing.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c = config
        self.level16 = conv(112, c.extent_channels, 1)
        self.level32 = conv(192, c.extent_channels, 1)
        self.evidence = conv(c.trunk_channels + 11, c.extent_channels, 1)  # trunk, 8 likenesses, 3 planes
        self.blocks = nn.ModuleList(ExtentBlock(c.extent_channels) for _ in range(c.extent_blocks))
        self.norm = nn.GroupNorm(1, c.extent_channels)
        self.out = conv(c.extent_channels, c.trunk_channels, 1, gain=0.0)

    def forward(self, deep16: Tensor, deep32: Tensor, trunk: Tensor, planes8: Tensor, similar: Tensor) -> Tensor:
        """To be added to the trunk, O x C x h x w.

        `deep16` 1 x 112 x h/2 x w/2, `deep32` 1 x 192 x h/4 x w/4; `trunk` O x C x h x w; `planes8` O x 3 x h x w
        previous mask and strokes; `similar` O x 8 x h x w.
        """
        seen = torch.cat([trunk, similar], 1)
        evidence = torch.cat([F.avg_pool2d(seen, 2), F.max_pool2d(planes8, 2)], 1)
        x = self.level16(deep16) + upsample(self.level32(deep32), 2) + self.evidence(evidence)
        for block in self.blocks:
            x = block(x)
        return upsample(self.out(self.norm(x)), 2)
