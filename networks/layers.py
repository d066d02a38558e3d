"""Small building blocks shared by the parts of the published network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.winograd import WinogradConv2d


class ConvNorm(nn.Module):
    """Convolution that keeps the size (stride aside), then batch normalisation, then ReLU unless `relu=False`.

    `fold_batch_norm` (networks/inference.py) merges the two; `norm` is then the identity.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=bias)
        self.norm = nn.BatchNorm2d(channels_out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """B x channels_in x H x W -> B x channels_out x H/stride x W/stride."""
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self.relu else x


def conv_same(channels_in: int, channels_out: int, kernel: int) -> nn.Conv2d:
    """A plain convolution with bias and zero padding that keeps the size."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear upsampling by a whole factor, corners aligned (spec section 3, `bil`)."""
    size = (x.shape[-2] * factor, x.shape[-1] * factor)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def conv_part(conv: nn.Conv2d, x: Tensor, first: int, *, bias: bool = False) -> Tensor:
    """What the input channels `first ..` of `conv` contribute to its output, `x` being those channels.

    A convolution over a concatenation is the sum of such parts; a part that does not depend on the object is computed
    once and shared by all objects.  Exactly one part of the sum takes the bias.
    """
    if isinstance(conv, WinogradConv2d):
        return conv.part(x, first, bias=bias)
    weight = conv.weight[:, first : first + x.shape[1]]
    return F.conv2d(x, weight, conv.bias if bias else None, conv.stride, conv.padding, conv.dilation)


def per_object(shared: Tensor, objects: int) -> Tensor:
    """Spread what is known per frame over the object axis.

    `shared` B x ... -> B x ... if that broadcasts (B is 1 or `objects`), else each row repeated `objects // B` times:
    in a training batch the objects of one clip lie next to each other.
    """
    batch = shared.shape[0]
    return shared if batch in (1, objects) else torch.repeat_interleave(shared, objects // batch, dim=0)
