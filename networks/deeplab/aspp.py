"""Atrous spatial pyramid pooling (spec: method.md, section 3, ASPP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers import ConvNorm, conv_part

DILATIONS = {16: (6, 12, 18), 8: (12, 24, 36)}  # by the stride of the map that it works on


class ASPP(nn.Module):
    """One 1x1 branch, three dilated 3x3 branches and one image-wide branch, merged by a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvNorm(channels_in, channels_out, 1)])
        self.branches.extend(ConvNorm(channels_in, channels_out, 3, dilation=d) for d in DILATIONS[stride])
        self.image_branch = ConvNorm(channels_in, channels_out, 1)
        self.merge = nn.Conv2d(5 * channels_out, channels_out, 1, bias=False)
        self.merge_norm = nn.BatchNorm2d(channels_out)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """B x channels_in x h x w -> B x channels_out x h x w."""
        local = torch.cat([branch(x) for branch in self.branches], dim=1)  # B x 4 channels_out x h x w
        image = self.image_branch(x.mean(dim=(2, 3), keepdim=True))  # B x channels_out x 1 x 1
        # The image branch is the same everywhere, so its share of the 1x1 convolution is one vector per item.
        x = conv_part(self.merge, local, 0, bias=True) + conv_part(self.merge, image, local.shape[1])
        return self.dropout(F.relu(self.merge_norm(x), inplace=True))
