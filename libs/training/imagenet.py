"""torchvision's ResNet-50 as the start of the published network's two encoders.

Squeeze-and-excitation, which torchvision's network lacks, and everything behind the encoders start anew.  (There the
batch norms, which have no statistics to keep, are a factor and an offset per channel.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dataset_torch.errors import UserError
from libs.checkpoints import FOLDER
from networks.network import GISNet

FILE = "resnet50-0676ba61.pth"
REMEDY = (
    f"Download https://download.pytorch.org/models/{FILE} (98 MB) into {FOLDER}, or give its path with --backbone; "
    "or start from a checkpoint of the network with --start-from."
)
_NORM = ("weight", "bias", "running_mean", "running_var")
_CONVS = {"reduce": ("conv1", "bn1"), "spatial": ("conv2", "bn2"), "expand": ("conv3", "bn3")}
_SHORTCUT = {"shortcut": ("downsample.0", "downsample.1")}


def load_imagenet(network: GISNet, path: Path | None) -> None:
    """Give both encoders the weights and the batch-norm statistics in `path` (None: the file in checkpoints/).

    Raises:
        UserError: no such file, or it holds no ResNet-50 of torchvision.
    """
    path = path or FOLDER / FILE
    if not path.is_file():
        # Without them the run would be lost: batch norms keep their statistics in training (a batch is the objects of
        # one clip, of another number in each process), so those of a fresh network would do nothing for ever.
        raise UserError(f"the ImageNet weights {path} are missing. {REMEDY}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails anywhere in the decoder
        raise UserError(f"{path} cannot be read ({error}). {REMEDY}") from error
    for encoder in (network.frame_encoder, network.interaction.encoder):
        try:
            _fill(encoder, weights)
        except (KeyError, IndexError, AttributeError, TypeError, RuntimeError) as error:
            raise UserError(f"{path} holds no ResNet-50 of torchvision ({error}). {REMEDY}") from error


@torch.no_grad()
def _fill(encoder: nn.Module, weights: Mapping[str, Tensor]) -> None:
    stem = encoder.stem
    stem.conv.weight.zero_()  # planes of strokes change nothing at first: what follows sees the pictures it knows
    stem.conv.weight[:, :3] = weights["conv1.weight"]
    stem.conv.bias.zero_()
    _fill_norm(stem.norm, weights, "bn1")
    for number, stage in enumerate(encoder.stages, start=1):
        for index, block in enumerate(stage):
            parts = _CONVS if block.shortcut is None else {**_CONVS, **_SHORTCUT}
            for ours, (conv, norm) in parts.items():
                part = getattr(block, ours)
                prefix = f"layer{number}.{index}."
                part.conv.weight.copy_(weights[f"{prefix}{conv}.weight"])
                _fill_norm(part.norm, weights, prefix + norm)


def _fill_norm(norm: nn.BatchNorm2d, weights: Mapping[str, Tensor], prefix: str) -> None:
    for name in _NORM:
        getattr(norm, name).copy_(weights[f"{prefix}.{name}"])
