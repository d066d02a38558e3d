"""ResNet-50 with squeeze-and-excitation, dilated as DeepLab does (spec: method.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers import ConvNorm

EXPANSION = 4  # a bottleneck of width p ends in 4p channels
SQUEEZE = 4  # the squeeze-and-excitation branch narrows 4p channels to p / 4
BLOCKS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)


class SEBottleneck(nn.Module):
    """1x1, 3x3 (stride, dilation), 1x1, scaled per channel by squeeze-and-excitation, plus the shortcut, then ReLU."""

    def __init__(
        self,
        channels_in: int,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        channels_out = EXPANSION * width
        self.reduce = ConvNorm(channels_in, width, 1)
        self.spatial = ConvNorm(width, width, 3, stride=stride, dilation=dilation)
        self.expand = ConvNorm(width, channels_out, 1, relu=False)
        self.squeeze = nn.Conv2d(channels_out, width // SQUEEZE, 1, bias=False)
        self.excite = nn.Conv2d(width // SQUEEZE, channels_out, 1, bias=False)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """B x channels_in x H x W -> B x 4 width x H/stride x W/stride."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = self.expand(self.spatial(self.reduce(x)))
        pooled = x.mean(dim=(2, 3), keepdim=True)  # B x 4p x 1 x 1
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))
        return F.relu(torch.addcmul(shortcut, x, scale), inplace=True)


class SEResNet(nn.Module):
    """The stem and the stages 2, 3, ... of an SE-ResNet-50.

    `strides` one per stage (it sits in the stage's first block); `dilations` one per stage, each either one number
    for all blocks or one number per block.
    """

    def __init__(self, channels_in: int, *, strides: Sequence[int], dilations: Sequence[int | Sequence[int]]) -> None:
        super().__init__()
        self.stem = ConvNorm(channels_in, 64, 7, stride=2, bias=True)
        self.stages = nn.ModuleList()
        channels = 64
        for width, blocks, stride, dilation in zip(WIDTHS, BLOCKS, strides, dilations):
            per_block = [dilation] * blocks if isinstance(dilation, int) else list(dilation)
            self.stages.append(_stage(channels, width, stride, per_block))
            channels = EXPANSION * width

    def forward(self, x: Tensor) -> list[Tensor]:
        """B x channels_in x H x W -> the stages' outputs r2, r3, ...; r2 has 256 channels at 1/4 of the size."""
        x = F.max_pool2d(self.stem(x), kernel_size=3, stride=2, padding=1)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


def _stage(channels_in: int, width: int, stride: int, dilations: Sequence[int]) -> nn.Sequential:
    channels = EXPANSION * width
    shortcut = ConvNorm(channels_in, channels, 1, stride=stride, relu=False)
    first = SEBottleneck(channels_in, width, stride=stride, dilation=dilations[0], shortcut=shortcut)
    return nn.Sequential(first, *(SEBottleneck(channels, width, dilation=d) for d in dilations[1:]))
