"""Refinement of a coarse map with a finer feature of the image (spec: method.md, section 3, Refine)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers import conv_same, upsample


class Refine(nn.Module):
    """`skip` depends on the image alone, `forward` joins it with the coarse map; both are residual."""

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.skip_input = conv_same(skip_channels, channels, 3)
        self.skip_residual1 = conv_same(channels, channels, 3)
        self.skip_residual2 = conv_same(channels, channels, 3)
        self.merged_residual1 = conv_same(channels, channels, 3)
        self.merged_residual2 = conv_same(channels, channels, 3)

    def skip(self, feature: Tensor) -> Tensor:
        """B x skip_channels x h x w -> B x channels x h x w."""
        s = self.skip_input(feature)
        return s + self.skip_residual2(F.relu(self.skip_residual1(F.relu(s)), inplace=True))

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """`skip` of the image (its batch broadcasts), `coarse` B x channels x h/2 x w/2 -> B x channels x h x w."""
        m = skip + upsample(coarse, 2)
        return m + self.merged_residual2(F.relu(self.merged_residual1(F.relu(m)), inplace=True))
