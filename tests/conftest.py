"""What every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from libs.checkpoints import load_network
from networks.network import GISNet
from tests import golden


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "slow: needs the network or more than ten seconds; `make test SLOW=1` runs it too"
    )


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published-format checkpoint file (304 MB) with the golden weights."""
    path = tmp_path_factory.mktemp("golden") / "published.pth"
    torch.save(golden.published_weights(), path)
    return path


@pytest.fixture(scope="session")
def golden_network(golden_checkpoint: Path) -> GISNet:
    """Read through the checkpoint loader, so that the mapping of names is what is tested, too.  Do not change it."""
    network = load_network(golden_checkpoint)
    assert isinstance(network, GISNet)
    return network
