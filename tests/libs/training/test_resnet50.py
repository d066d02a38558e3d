"""The published network trains with the same engine: it overfits one clip, and every stage of its recipe runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from dataset_torch.errors import UserError
from libs.training import imagenet
from libs.training.data import TrainingSet
from libs.training.engine import Engine
from libs.training.recipe import Stage, load_recipe
from libs.training.setup import build_network
from libs.training.state import PUBLISHED_ENCODERS, make_optimiser, trained_parameters
from libs.training.validation import validate_clips
from tests.libs.training.toys import SIZE, Squares, square_clip, tiny_recipe


@pytest.mark.slow
def test_it_overfits_one_clip_at_a_reduced_size(tmp_path: Path) -> None:
    stage = Stage(1, (2, 2), (1,), size=(64, 64), max_objects=1, finished_mask=0, corruption=0)
    recipe = tiny_recipe(
        architecture="resnet50",
        stages=(stage,),
        steps=70,
        clips_per_step=1,
        learning_rate=5e-4,
        colour=0.0,
        unfrozen=PUBLISHED_ENCODERS,
        backbone_rate=1.0,
        average_decay=0.8,
    )
    engine = Engine(build_network(recipe, pretrained=False), recipe, [TrainingSet("squares", Squares(1))], tmp_path)
    losses = [float(engine.step()[0][0].loss) for _ in range(recipe.steps)]
    assert np.mean(losses[-5:]) < 0.35 * np.mean(losses[:5])
    engine.network.load_state_dict(engine.averaged())
    assert validate_clips(engine.network.eval(), [square_clip(0)], rounds=1).figures["val_round1"] > 0.7


@pytest.mark.slow
def test_a_dry_run_over_all_stages(tmp_path: Path) -> None:
    recipe = load_recipe("resnet50", steps=10, clips_per_step=1, warm_up_steps=1)
    small = tuple(dataclasses.replace(stage, size=SIZE, length=(2, 2)) for stage in recipe.stages)
    recipe = dataclasses.replace(recipe, stages=small)
    sets = [TrainingSet(kind, Squares(2)) for kind in ("images", "davis", "youtube")]
    engine = Engine(build_network(recipe, pretrained=False), recipe, sets, tmp_path)
    stages = []
    for step in (0, 3, 6, 9):
        engine.state.step = step
        stages.append(recipe.stage_at(step))
        results, norm = engine.step()
        assert torch.isfinite(results[0].loss) and norm > 0
    assert [recipe.stages.index(stage) for stage in stages] == [0, 1, 2, 2]


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-50 of torchvision with random weights and statistics."""
    torch.manual_seed(3)
    network = torchvision.models.resnet50()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.running_mean, module.bias.data):
                value.normal_(0, 0.1)
            for value in (module.running_var, module.weight.data):
                value.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("imagenet") / "resnet50.pth"
    torch.save(network.state_dict(), path)
    return path


def stages_of_torchvision(path: Path, image: Tensor) -> list[Tensor]:
    network = torchvision.models.resnet50().eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    x = network.maxpool(network.relu(network.bn1(network.conv1(image))))
    outputs = []
    for stage in (network.layer1, network.layer2, network.layer3):
        x = stage(x)
        outputs.append(x)
    return outputs


@torch.no_grad()
def test_both_encoders_start_from_imagenet(imagenet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(load_recipe("resnet50"), backbone=imagenet_file).eval()
    monkeypatch.setattr(torch, "sigmoid", torch.ones_like)  # squeeze-and-excitation lets everything pass
    image, planes = torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 96)
    expected = stages_of_torchvision(imagenet_file, image)
    frame = network.frame_encoder(image)
    annotated = network.interaction.encoder(torch.cat([image, planes], dim=1))
    # The frame encoder's third stage is dilated where torchvision's steps.
    for found, wanted in [*zip(frame[:2], expected), *zip(annotated[:3], expected)]:
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
    last = torch.load(imagenet_file, weights_only=True)
    assert torch.equal(network.interaction.encoder.stages[3][2].expand.conv.weight, last["layer4.2.conv3.weight"])
    assert torch.equal(network.frame_encoder.stages[2][5].expand.norm.running_var, last["layer3.5.bn3.running_var"])


def test_without_imagenet_weights_it_is_refused_with_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("resnet50")
    monkeypatch.setattr(imagenet, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"resnet50-0676ba61\.pth are missing\. Download https"):
        build_network(recipe)
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="holds no ResNet-50"):
        build_network(recipe, backbone=path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        build_network(recipe, backbone=path)
    with pytest.raises(UserError, match="--backbone is for the network resnet50"):
        build_network(load_recipe("compact"), backbone=path)


def test_the_encoders_learn_at_their_own_rate() -> None:
    recipe = load_recipe("resnet50")
    network = build_network(recipe, pretrained=False)
    trained = trained_parameters(network, recipe)
    assert set(trained) == {name for name, _ in network.named_parameters()}
    slow = {id(p) for group in make_optimiser(trained, recipe).param_groups[2:] for p in group["params"]}
    slow_names = {name for name, p in trained.items() if id(p) in slow}
    assert "frame_encoder.stem.conv.weight" in slow_names and len(slow_names) > 100
    assert all(name.startswith(PUBLISHED_ENCODERS) for name in slow_names)
    assert not any("squeeze" in name or "excite" in name for name in slow_names)  # they start anew
