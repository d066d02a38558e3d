"""The published network trains with the same engine: it overfits one clip, and every stage of its recipe runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from libs.training.data import TrainingSet
from libs.training.engine import Engine
from libs.training.recipe import Stage, load_recipe
from libs.training.setup import build_network
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
        average_decay=0.8,
    )
    engine = Engine(build_network(recipe), recipe, [TrainingSet("squares", Squares(1))], tmp_path)
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
    engine = Engine(build_network(recipe), recipe, sets, tmp_path)
    stages = []
    for step in (0, 3, 6, 9):
        engine.state.step = step
        stages.append(recipe.stage_at(step))
        results, norm = engine.step()
        assert torch.isfinite(results[0].loss) and norm > 0
    assert [recipe.stages.index(stage) for stage in stages] == [0, 1, 2, 2]
