"""Small layers that several parts of the compact network share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.layers import conv_part

PROBABILITY_FLOOR = 0.02  # a mask used as evidence is never fully certain: its logit stays within +-3.9


def conv(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """Convolution that keeps the size (or halves it), He-initialised; `gain` 0 makes a branch start as nothing."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(layer.bias)
    return layer


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear upsampling, pixel centres kept."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Mean over 2 x 2 positions, A x C x 2h x 2w -> A x C x h x w: `avg_pool2d`'s bits, on a CPU without gradients in a
    third of its time."""
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return F.avg_pool2d(x, 2)
    total = x[..., ::2, ::2] + x[..., ::2, 1::2]
    total += x[..., 1::2, ::2]
    total += x[..., 1::2, 1::2]
    return total.mul_(0.25)


def evidence(probability: Tensor) -> Tensor:
    """Probability as a bounded logit, in float32."""
    p = probability.float().clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return torch.log(p / (1 - p))


def cat_channels(parts: list[Tensor]) -> Tensor:
    """`torch.cat` over channels whose result is channels-last whatever the parts are.

    A part with one channel looks like the other layout, and then the whole result would have to be copied again.
    """
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], 3).permute(0, 3, 1, 2)


def cells(mask: Tensor) -> Tensor:
    """O x 1 x H x W in [0, 1] -> O x 4 x H/8 x W/8: the 2 x 2 quarters (stride 4) of every stride-8 cell.

    Transferring quarters keeps twice the resolution of the matching grid at four columns a mask.
    """
    return F.pixel_unshuffle(F.avg_pool2d(mask, 4), 2)


def others(mask: Tensor) -> Tensor:
    """For every object the strongest other object, elementwise: O x ... -> O x ... (zeros with one object)."""
    count = mask.shape[0]
    if count == 1:
        return torch.zeros_like(mask)
    first, where = mask.max(dim=0, keepdim=True)  # 1 x ...
    index = torch.arange(count, device=mask.device).view(-1, *[1] * (mask.dim() - 1))
    second = mask.masked_fill(index == where, 0).amax(dim=0, keepdim=True)  # 1 x ...
    return torch.where(index == where, second, first)


class ResidualBlock(nn.Module):
    """Group norm, ReLU, 3x3, ReLU, 3x3, added to the input.

    Group norm, not batch norm: the batch axis holds the objects of one clip.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = conv(channels, channels)
        self.second = conv(channels, channels, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(self.norm(x)))))


class Trunk(nn.Module):
    """Stride-8 reasoning about one object: residual blocks, the middle one at stride 16 with a wide view."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = ResidualBlock(channels)
        self.wide = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            conv(channels, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=3, dilation=3),
            nn.ReLU(),
            conv(channels, channels, gain=0.3),
        )
        self.after = ResidualBlock(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        x = x + upsample(self.wide(F.avg_pool2d(x, 2)), 2)
        return self.after(x)  # O x C x h x w


class Decoder(nn.Module):
    """From the stride-8 trunk over strides 4 and 2 to a mask logit, on top of weighted prior logits.

    The priors are masks that other parts of the network already have (transferred, warped, previous); the decoder
    weighs them per position and corrects them, which learns much faster than drawing the mask afresh.
    """

    def __init__(
        self,
        trunk: int,
        *,
        coarse: int,
        fine: int,
        skip4: int,
        skip2: int,
        coarse_priors: int,
        fine_priors: int,
        picture: int = 0,
    ) -> None:
        super().__init__()
        self.coarse_priors = coarse_priors
        self.lower = conv(trunk, 32)
        self.coarse = conv(coarse, 32, 1)
        self.skip4 = conv(skip4, 32, 1)
        self.middle = conv(32, 32)
        self.upper = conv(32, 16)
        self.fine = conv(16 + skip2 + fine + 1, 16)
        self.last = conv(16, 1, gain=0.3)
        if picture:
            self.edge = conv(16 + picture, 16)
            self.edge_change = conv(16, 16, gain=0.0)
            self.trust = conv(16, fine_priors, 1, gain=0.0)
        self.gates = nn.Conv2d(trunk, coarse_priors + fine_priors, 1)
        nn.init.zeros_(self.gates.weight)
        nn.init.constant_(self.gates.bias, -0.4)  # softplus -> .51: two agreeing priors weigh as much as one sure one

    def forward(
        self,
        trunk: Tensor,
        skips: tuple[Tensor, Tensor],
        coarse: Tensor,
        fine: Tensor,
        priors: tuple[Tensor, Tensor],
        *,
        picture: Tensor | None = None,
        shared: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> Tensor:
        """Mask logit, O x 1 x H x W.

        `trunk` O x C x H/8 x W/8; `skips` the frame's features at strides 4 and 2 (leading axis 1); `coarse`,
        `fine` O x k maps at strides 4 and 2; `priors` O x k prior logits at strides 4 and 2; `shared` 1 x k more maps
        at stride 4, the same for all objects, which follow `coarse` in the channels; `picture` 1 x k maps at stride 2,
        by which borders are placed.  What is shared is computed once.  `extra` O x 32 x H/4 x W/4 is added at stride 4.
        """
        skip4, skip2 = skips
        gates = F.softplus(self.gates(trunk).float())  # O x k x H/8 x W/8
        prior = (upsample(gates[:, : self.coarse_priors], 2) * priors[0]).sum(1, keepdim=True)  # stride 4
        prior = upsample(prior, 2) + (upsample(gates[:, self.coarse_priors :], 4) * priors[1]).sum(1, keepdim=True)
        known = self.skip4(skip4)  # 1 x 32 x H/4 x W/4
        if shared is not None:
            known = known + conv_part(self.coarse, shared, coarse.shape[1])
        x = upsample(self.lower(trunk), 2)
        x += conv_part(self.coarse, coarse, 0, bias=True)
        x += known
        if extra is not None:
            x += extra
        x = F.relu(x, inplace=True)
        y = self.middle(x)
        y += x
        y = upsample(self.upper(F.relu(y, inplace=True)), 2)  # O x 16 x H/2 x W/2
        return upsample(self._drawn(y, skip2, fine, prior, priors[1], picture).float() + prior, 2)

    def _drawn(
        self, x: Tensor, skip2: Tensor, fine: Tensor, prior: Tensor, fine_priors: Tensor, picture: Tensor | None
    ) -> Tensor:
        """The correction of the prior at stride 2: O x 1 x H/2 x W/2.

        The gates of the priors are one value per stride-8 cell; with a picture the fine ones get a weight of their own
        at every position, so that a border which is known exactly (nothing moved, or the motion is certain) stays.
        """
        first, second = x.shape[1], x.shape[1] + skip2.shape[1]
        # The input is x, skip2, fine, prior; the second is one image for all objects, so its share is computed once.
        weight = torch.cat([self.fine.weight[:, :first], self.fine.weight[:, second:]], 1)
        y = F.conv2d(cat_channels([x, fine, prior]), weight, padding=1)  # O x 16 x H/2 x W/2
        y += conv_part(self.fine, skip2, first, bias=True)
        if picture is None:
            return self.last(F.relu(y, inplace=True))
        edge = conv_part(self.edge, F.relu(y), 0, bias=True) + conv_part(self.edge, picture, y.shape[1])
        y = F.relu(y + self.edge_change(F.relu(edge)))
        return self.last(y) + (self.trust(y).float() * fine_priors).sum(1, keepdim=True)
