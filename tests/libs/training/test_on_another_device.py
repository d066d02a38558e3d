"""Training where the network is not on the CPU: a pass, a step, a validation, a resumed run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from libs.training.engine import Engine
from libs.training.passes import run_pass, training_segmenter
from libs.training.recipe import Stage
from libs.training.samples import make_sample
from libs.training.validation import validate_clips
from networks.compact import CompactGIS
from networks.interface import GuidedNetwork
from networks.network import GISNet
from tests.another_device import another_device
from tests.libs.training.toys import SIZE, square_clip, squares, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
STAGE = Stage(share=1, length=(3, 3), rounds=(0, 1), size=SIZE, max_objects=1, practice=1, corruption=1)


def loss_of_a_pass(network: GuidedNetwork, stage: Stage) -> float:
    generator = np.random.default_rng(0)
    sample = make_sample(square_clip(1, length=3), generator)
    recipe = tiny_recipe(stages=(stage,))
    result = run_pass(training_segmenter(network, recipe), sample, recipe, stage, generator)
    result.loss.backward()
    return float(result.loss.detach())


@pytest.mark.parametrize("finished_mask", [0, 1])
@pytest.mark.parametrize("architecture", [CompactGIS, pytest.param(GISNet, marks=pytest.mark.slow)])
def test_a_pass_has_the_loss_that_it_has_on_the_cpu(architecture: type[GuidedNetwork], finished_mask: int) -> None:
    stage = replace(STAGE, finished_mask=finished_mask)
    torch.manual_seed(0)
    network = architecture()
    for module in network.modules():  # as the engine has it
        module.train(not isinstance(module, torch.nn.BatchNorm2d))
    here = loss_of_a_pass(network, stage)
    network.zero_grad(set_to_none=True)
    with another_device() as device:
        there = loss_of_a_pass(network.to(device), stage)
    assert there == pytest.approx(here, rel=1e-3)


def test_a_run_is_saved_validated_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompactGIS, "preferred_short_side", 64)
    recipe = tiny_recipe(stages=(replace(STAGE, length=(2, 2), rounds=(1,)),), clips_per_step=1)
    clip = square_clip(3, length=3)
    with another_device() as device:
        torch.manual_seed(0)
        first = Engine(
            CompactGIS().to(device), recipe, squares(), tmp_path, validator=lambda n: validate_clips(n, [clip])
        )
        first.step()
        first.save()
        assert 0 <= first.validate().score <= 1
        first.step()
        second = Engine(CompactGIS().to(device), recipe, squares(), tmp_path)
        assert second.resume()
        second.step()
        for a, b in zip(first.network.state_dict().values(), second.network.state_dict().values()):
            assert torch.equal(a.cpu(), b.cpu())
        assert all(value.device == device for value in second.state.average.values.values())
