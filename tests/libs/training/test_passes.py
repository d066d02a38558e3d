"""A pass goes through the segmenter; damage and samples behave as described."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from libs.simulated_user import UserStyle
from libs.training import passes
from libs.training.damage import blob, damage
from libs.training.losses import propagation_loss
from libs.training.passes import next_frame, run_pass, training_segmenter
from libs.training.recipe import LossWeights
from libs.training.samples import make_sample
from networks.compact import CompactGIS
from tests.libs.training.toys import square_clip, tiny_recipe


def test_every_head_gets_a_gradient_from_one_two_round_pass() -> None:
    torch.manual_seed(0)
    network, recipe = CompactGIS(), tiny_recipe()
    network.encoder.backbone.requires_grad_(False)
    stage = recipe.stages[0].__class__(1, (2, 2), (0, 1), size=(64, 96), finished_mask=0)
    generator = np.random.default_rng(0)
    result = run_pass(
        training_segmenter(network, recipe), make_sample(square_clip(1), generator), recipe, stage, generator
    )
    result.loss.backward()
    without = [n for n, p in network.named_parameters() if "backbone" not in n and p.grad is None]
    assert without == []
    assert len(result.round_quality) == 2 and len(result.interaction_quality) == 2
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_a_finished_mask_is_the_frames_result() -> None:
    torch.manual_seed(0)
    network, recipe = CompactGIS(), tiny_recipe()
    stage = recipe.stages[0].__class__(1, (1, 1), (1,), size=(64, 96), finished_mask=1)
    generator = np.random.default_rng(0)
    sample = make_sample(square_clip(1, length=2), generator)
    result = run_pass(training_segmenter(network, recipe), sample, recipe, stage, generator)
    assert result.interaction_quality == [] and result.round_quality[0] > 0.5  # the given frame alone counts 1


def test_a_clip_with_nothing_large_enough_to_stroke_teaches_nothing() -> None:
    recipe, generator = tiny_recipe(style=UserStyle(smallest=1.0)), np.random.default_rng(0)
    stage = recipe.stages[0].__class__(1, (2, 2), (0, 1), size=(64, 96), finished_mask=0)
    sample = make_sample(square_clip(1), generator)
    result = run_pass(training_segmenter(CompactGIS(), recipe), sample, recipe, stage, generator)
    assert float(result.loss) == 0 and not result.loss.requires_grad and result.round_quality == []


def test_that_a_finished_mask_is_kept_is_learned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []

    def counted(*args: Any) -> Any:
        judged.append(args)
        return propagation_loss(*args)

    monkeypatch.setattr(passes, "propagation_loss", counted)
    recipe, generator = tiny_recipe(), np.random.default_rng(0)
    stage = recipe.stages[0].__class__(1, (2, 2), (1,), size=(64, 96), finished_mask=1)
    sample = make_sample(square_clip(1, length=2), generator)
    run_pass(training_segmenter(CompactGIS(), recipe), sample, recipe, stage, generator)
    assert len(judged) == len(sample.frames) == 2
    # What is judged is the network's own answer, not the given mask, on the given frame, too.
    assert all(bool(((p > 1e-4) & (p < 1 - 1e-4)).any()) for _, p, _, _ in judged)


def test_the_judgement_can_be_trained_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = []

    def counted(*args: Any) -> Any:
        losses.append(propagation_loss(*args))
        return losses[-1]

    monkeypatch.setattr(passes, "propagation_loss", counted)
    network, recipe, generator = CompactGIS(), tiny_recipe(), np.random.default_rng(0)
    network.requires_grad_(False)
    network.propagation.quality.requires_grad_(True)
    stage = recipe.stages[0].__class__(1, (4, 4), (1,), size=(64, 96), finished_mask=0)
    sample = make_sample(square_clip(1, length=4), generator)
    run_pass(training_segmenter(network, recipe), sample, recipe, stage, generator)
    # The annotated frame comes first and is learned from in half of the passes; no mask has a gradient here.
    assert len(losses) == 4 and all(loss.requires_grad for loss, _ in losses[1:])


@pytest.mark.parametrize("graded", [1.0, 0.5])
def test_a_share_of_a_long_chain_is_learned_from(monkeypatch: pytest.MonkeyPatch, graded: float) -> None:
    learned = []

    def counted(output: Any, *args: Any) -> Any:
        learned.append(output.foreground.requires_grad)
        return propagation_loss(output, *args)

    monkeypatch.setattr(passes, "propagation_loss", counted)
    recipe, generator = tiny_recipe(), np.random.default_rng(0)
    stage = recipe.stages[0].__class__(1, (24, 24), (1,), size=(32, 32), finished_mask=1, graded=graded)
    sample = make_sample(square_clip(1, length=24), generator)
    result = run_pass(training_segmenter(CompactGIS(), recipe), sample, recipe, stage, generator)
    assert len(learned) == 24 and result.loss.requires_grad
    # The annotated frame itself, which comes first, is learned from in half of the passes, whatever the share is.
    assert all(learned[1:]) if graded == 1 else 5 < sum(learned[1:]) < 18


def test_a_sample_keeps_the_objects_that_can_be_stroked() -> None:
    clip = square_clip(1)
    masks = clip.masks.copy()
    masks[:, 0, 0] = 2  # one pixel
    sample = make_sample(clip.__class__(clip.frames, masks, (1, 2), "two"), np.random.default_rng(0))
    assert sample.object_ids == (1,)
    assert set(np.unique(sample.truth)) == {0, 1}


def test_damage_stays_a_probability_and_has_no_gradient() -> None:
    generator = np.random.default_rng(0)
    mask = torch.rand(2, 1, 32, 48, requires_grad=True)
    kinds = [damage(mask, generator) for _ in range(40)]
    assert all(d.shape == mask.shape and not d.requires_grad for d in kinds)
    assert all(0 <= float(d.min()) and float(d.max()) <= 1 for d in kinds)
    assert sum(torch.equal(d, mask) for d in kinds) < 5
    assert 0 < float(blob(mask, generator).mean()) < 0.5


class Drawn:
    """A generator that gives these numbers, in this order."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def integers(self, *_: int) -> int:
        return int(self.numbers.pop(0))

    def random(self) -> float:
        return self.numbers.pop(0)


def test_damage_makes_objects_larger_or_smaller() -> None:
    square = torch.zeros(1, 1, 32, 32)
    square[..., 10:20, 10:20] = 1
    assert float(damage(square, Drawn(1, 1, 0.3)).sum()) == 12 * 12
    assert float(damage(square, Drawn(1, 1, 0.5)).sum()) == 8 * 8


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_neighbours_mask_is_damaged_and_passes_no_gradient(
    monkeypatch: pytest.MonkeyPatch, probability: float
) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(passes, "damage", lambda foreground, _: foreground + 1)
    monkeypatch.setattr(
        CompactGIS, "propagate", lambda _, query, neighbour, foreground, memory: seen.append(foreground)
    )
    wrapped = passes.TrainedNetwork(CompactGIS())
    wrapped.probability = probability
    mask = torch.zeros(1, 1, 2, 2, requires_grad=True)
    wrapped.propagate("query", "neighbour", mask * 1, [])
    assert not seen[0].requires_grad and float(seen[0].mean()) == probability


def test_the_loss_is_a_mean_over_rounds_and_practice_has_the_weight_of_the_interaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "_one_round", lambda *_: passes._Round(terms=[torch.tensor(2.0)]))
    monkeypatch.setattr(passes, "practise", lambda *_: [torch.tensor(1.0), torch.tensor(5.0)])
    recipe, generator = tiny_recipe(loss=LossWeights(interaction=0.25)), np.random.default_rng(0)
    stage = recipe.stages[0].__class__(1, (2, 2), (0, 1), size=(64, 96), finished_mask=0, practice=2)
    sample = make_sample(square_clip(1, length=2), generator)
    result = run_pass(training_segmenter(CompactGIS(), recipe), sample, recipe, stage, generator)
    assert float(result.loss) == pytest.approx((2 + 2) / 2 + 0.25 * (3 + 3))


def test_the_next_frame_is_mostly_the_worst() -> None:
    generator = np.random.default_rng(0)
    qualities, scores = [torch.tensor(v) for v in (0.9, 0.2, 0.8)], [0.1, 0.8, 0.9]
    chosen = [next_frame(qualities, scores, generator) for _ in range(200)]
    counts = np.bincount(chosen, minlength=3)
    assert counts[1] > counts[0] > counts[2] > 0
