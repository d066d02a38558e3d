"""Networks that a run starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dataset_torch.errors import UserError
from libs.checkpoints import save_checkpoint
from libs.training.recipe import load_recipe
from libs.training.setup import build_network, started_network


def test_a_run_starts_from_an_earlier_version_of_the_network(tmp_path: Path) -> None:
    recipe = load_recipe("compact")
    network = build_network(recipe, pretrained=False)
    with torch.no_grad():
        network.interaction.log_reach.fill_(1.5)
    path = save_checkpoint(tmp_path / "earlier.pth", network)
    content = torch.load(path, weights_only=True)
    content["weights"]["interaction.forgotten"] = torch.zeros(2)
    del content["weights"]["propagation.global_transfer.balance"]
    torch.save(content, path)

    started, differences = started_network(recipe, str(path))

    assert started.interaction.log_reach.item() == 1.5
    assert differences == ["propagation.global_transfer.balance starts anew", "interaction.forgotten is not used"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe("compact")
    path = save_checkpoint(tmp_path / "mine.pth", build_network(recipe, pretrained=False))
    with pytest.raises(UserError, match="holds the network 'compact'; recipe resnet50 trains"):
        started_network(load_recipe("resnet50"), str(path))
    content = torch.load(path, weights_only=True)
    content["weights"]["interaction.log_reach"] = torch.zeros(3)
    torch.save(content, path)
    with pytest.raises(UserError, match="does not fit the network of recipe compact"):
        started_network(recipe, str(path))
