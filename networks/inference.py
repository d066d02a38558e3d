"""Make a trained network faster without changing what it computes."""

from __future__ import annotations

import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from networks.interface import GuidedNetwork
from networks.winograd import WinogradConv2d, is_plain_inference

Network = TypeVar("Network", bound=GuidedNetwork)


def prepare_for_inference(
    network: Network, *, fast_convolutions: bool | None = None, bfloat16: bool = False
) -> Network:
    """Fold batch normalisation into the convolutions before it, store the weights channels-last, and, on a CPU, let 3x3
    and 5x5 convolutions take the short way (networks/winograd.py) except in the frame encoder: everything that follows
    builds on it, the R-score above all.  `fast_convolutions` None: where the network says that its layers are wide
    enough.

    `bfloat16`: the parts that bear it compute in that format, in networks that have such parts (`use_bfloat16`).

    Works in place, on any network whose normalisations directly follow their convolution, and returns it in evaluation
    mode.  Outputs change by rounding only (about 1e-5 of their size).  The state dict has other names afterwards: such
    a network is not for training or saving.
    """
    network.eval()
    fold_batch_norm(network)
    network.requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    if network.wide_layers if fast_convolutions is None else fast_convolutions:
        use_fast_convolutions(network)
    if bfloat16:
        network.use_bfloat16()
    return network


def use_fast_convolutions(network: nn.Module, *, direct: tuple[str, ...] = ("frame_encoder",)) -> int:
    """Replace convolutions by modules that compute them faster on a CPU; returns how many were replaced.

    Parts of the network named in `direct` keep the direct sum for their 3x3 and 5x5 convolutions.  The interaction
    branch runs once per round: its transformed weights (200 MB) are not kept in memory.
    """
    count = 0
    for parent_name, parent in list(network.named_modules()):
        part = parent_name.split(".")[0]
        for name, conv in list(parent.named_children()):
            if PointwiseConv2d.suits(conv):
                setattr(parent, name, PointwiseConv2d.of(conv))
            elif WinogradConv2d.suits(conv) and part not in direct:
                setattr(parent, name, WinogradConv2d.of(conv, keep=part != "interaction"))
            else:
                continue
            count += 1
    return count


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 `nn.Conv2d` that always goes through oneDNN on a CPU.

    With one thread PyTorch prefers another way for these, which is slower on channels-last tensors and leaves that
    layout, so that everything behind it is slower too (measured: 1.3 times the time of the whole frame encoder).
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> PointwiseConv2d:
        """The same convolution, sharing the weights."""
        with torch.device("meta"):
            new = cls(conv.in_channels, conv.out_channels, 1, stride=conv.stride, bias=conv.bias is not None)
        new.weight, new.bias, new.training = conv.weight, conv.bias, conv.training
        return new

    @staticmethod
    def suits(conv: nn.Module) -> bool:
        """Whether this module can take a convolution's place."""
        return (
            type(conv) is nn.Conv2d
            and conv.kernel_size == (1, 1)
            and conv.padding == (0, 0)
            and conv.groups == 1
            and torch.backends.mkldnn.is_available()
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] == 1 or not is_plain_inference(x):
            return super().forward(x)
        return torch.mkldnn_convolution(x, self.weight, self.bias, (0, 0), self.stride, (1, 1), 1)


def fold_batch_norm(network: nn.Module) -> int:
    """Merge every convolution with the batch normalisation right behind it; returns how many were merged.

    "Right behind" is: the next child of the same parent, in order of definition.  That is how the networks of this
    package are written; `nn.Sequential` says so by itself.
    """
    count = 0
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
                count += 1
    return count
