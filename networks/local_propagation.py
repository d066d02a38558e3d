"""Intersection-aware propagation from the neighbouring frame (spec: method.md, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers import conv_part, conv_same


class LocalPropagation(nn.Module):
    """What the frame propagated just before says of the query: its mask, and where the two frames look alike.

    There is no activation in this module except the exponential.  Only the neighbour's mask differs per object, and it
    is one of 129 input channels, so everything else is computed once for all objects.
    """

    def __init__(self, channels_in: int = 1024, channels: int = 128) -> None:
        super().__init__()
        half = channels // 2
        self.intersection_input = nn.Conv2d(channels_in, channels, 1)
        self.intersection = conv_same(channels, half, 5)
        self.neighbour_input = nn.Conv2d(channels_in, channels, 1)
        self.neighbour = conv_same(channels + 1, half, 5)  # the last input channel is the neighbour's mask
        self.merge = conv_same(2 * half, channels, 5)
        self.output = conv_same(channels, channels, 5)

    def encode_intersection(self, r4: Tensor) -> Tensor:
        """B x 1024 x h x w -> B x 128 x h x w: what is compared between the two frames."""
        return self.intersection_input(r4)

    def encode_neighbour(self, r4: Tensor) -> Tensor:
        """B x 1024 x h x w -> B x 64 x h x w: the part of `neighbour` that does not depend on the mask."""
        return conv_part(self.neighbour, self.neighbour_input(r4), 0, bias=True)

    def forward(
        self, query_intersection: Tensor, neighbour_intersection: Tensor, neighbour_encoded: Tensor, mask: Tensor
    ) -> Tensor:
        """-> O x 128 x h x w.

        `query_intersection`, `neighbour_intersection` B x 128 x h x w and `neighbour_encoded` B x 64 x h x w from the
        `encode_*` methods, B broadcasting to O; `mask` O x 1 x H x W, the objects on the neighbouring frame in [0, 1].
        """
        size = query_intersection.shape[-2:]
        mask = F.interpolate(mask, size=size, mode="bilinear", align_corners=True)  # O x 1 x h x w
        alike = torch.exp(-(neighbour_intersection - query_intersection).square())
        shared = conv_part(self.merge, self.intersection(alike), neighbour_encoded.shape[1], bias=True)
        own = neighbour_encoded + conv_part(self.neighbour, mask, self.neighbour.in_channels - 1)  # O x 64 x h x w
        return self.output(conv_part(self.merge, own, 0) + shared)
