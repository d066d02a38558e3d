"""From what the query frame was told (globally, locally) and its own look to two logits per object and pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.deeplab.aspp import ASPP
from networks.layers import ConvNorm, conv_part, conv_same, upsample
from networks.refine import Refine


class FeatureFusion(nn.Module):
    """Transferred object feature + local propagation + the query's own feature -> 256 channels at 1/4."""

    TRANSFER, LOCAL = 256, 128  # input channels of `merge` before those of the query

    def __init__(self) -> None:
        super().__init__()
        self.query_input = nn.Conv2d(1024, 256, 1)
        self.merge = nn.Conv2d(self.TRANSFER + self.LOCAL + 256, 512, 1)
        self.aspp = ASPP(512, 128, stride=8)
        self.reduce = nn.ModuleList([conv_same(512, 128, 3), conv_same(128, 128, 3), conv_same(128, 128, 3)])
        self.refine = Refine(256, 128)

    def encode_query(self, r4: Tensor) -> Tensor:
        """B x 1024 x h x w -> B x 256 x h x w."""
        return self.query_input(r4)

    def encode_skip(self, r2: Tensor) -> Tensor:
        """B x 256 x H/4 x W/4 -> B x 128 x H/4 x W/4."""
        return self.refine.skip(r2)

    def forward(self, transferred: Tensor, local: Tensor, query: Tensor, skip: Tensor) -> Tensor:
        """`transferred` O x 256 x h x w, `local` O x 128 x h x w, `query` and `skip` as encoded, their batch
        broadcasting to O -> O x 256 x H/4 x W/4."""
        own = conv_part(self.merge, torch.cat([transferred, local], dim=1), 0)
        x = own + conv_part(self.merge, query, self.TRANSFER + self.LOCAL, bias=True)  # O x 512 x h x w
        aspp = upsample(self.aspp(x), 2)
        for conv in self.reduce:
            x = conv(F.relu(x))
        return torch.cat([self.refine(skip, x), aspp], dim=1)


class SegmentationHead(nn.Module):
    """256 channels at 1/4 -> two logits (background, object) per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(256, 256, 3, bias=True),
            nn.Dropout(0.5),
            ConvNorm(256, 128, 5, bias=True),
            nn.Dropout(0.1),
            ConvNorm(128, 128, 5, bias=True),
            nn.Dropout(0.1),
            ConvNorm(128, 64, 5, bias=True),
            nn.Conv2d(64, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """O x 256 x H/4 x W/4 -> O x 2 x H x W."""
        return upsample(self.layers(x), 4)
