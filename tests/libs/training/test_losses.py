"""Losses against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch

from libs.training.losses import (
    RANK_SHARPNESS,
    border,
    carried_loss,
    correctness,
    jaccard,
    judgement_loss,
    logit_of,
    mask_loss,
    motion_loss,
    object_targets,
    propagation_loss,
    ranking_loss,
    soft_jaccard,
    weighted_entropy,
)
from libs.training.recipe import LossWeights
from networks.interface import Propagation


def test_targets_are_one_plane_per_object() -> None:
    truth = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8)
    assert object_targets(truth, 2).tolist() == [[[[0, 1], [0, 1]]], [[[0, 0], [1, 0]]]]


def test_jaccard_of_two_empty_masks_is_one() -> None:
    prediction = torch.tensor([[[[1.0, 1, 0, 0]]], [[[0, 0, 0, 0]]]])
    target = torch.tensor([[[[0.0, 1, 1, 0]]], [[[0, 0, 0, 0]]]])
    assert jaccard(prediction, target).tolist() == pytest.approx([1 / 3, 1])


@pytest.mark.parametrize("channels", [1, 2])
def test_what_a_network_is_wrongly_certain_of_has_a_gradient(channels: int) -> None:
    logits = torch.zeros(2, channels, 2, 2)
    logits[:, -1] = 20.0  # its probability is 1 in float32
    logits[:, 0] -= channels - 1  # of two, the background's
    logits.requires_grad_()
    own = logits if channels == 1 else logits[:, 1:] - logits[:, :1]
    output = Propagation(torch.sigmoid(own), torch.tensor(0.5), torch.ones(1, 1, 1, 1), logits)
    assert torch.equal(logit_of(output), own)
    mask_loss(logit_of(output), output.foreground, torch.zeros(2, 1, 2, 2), LossWeights()).backward()
    assert (logits.grad[:, -1] > 0.1).all()


def test_soft_jaccard() -> None:
    probability, target = torch.full((1, 1, 1, 4), 0.5), torch.tensor([[[[1.0, 1, 0, 0]]]])
    # overlap 1, union 2 + 2 - 1 = 3, both with 20 pixels more
    assert float(soft_jaccard(probability, target)) == pytest.approx(1 - 21 / 23)
    assert float(soft_jaccard(target, target)) == pytest.approx(0)
    absent = torch.zeros(1, 1, 1, 4)
    assert float(soft_jaccard(absent + 0.1, absent)) < 0.02  # an absent object predicted all but absent


def test_a_carried_mask_that_is_wrong_and_certain_costs_a_finite_sum() -> None:
    zeros = torch.zeros(1, 1, 4, 4)
    wrong = float(carried_loss(zeros, torch.ones(1, 1, 8, 8)))
    assert wrong == pytest.approx(-math.log(0.001) + 1 - 20.016 / 36, rel=1e-4)
    assert float(carried_loss(zeros, torch.zeros(1, 1, 8, 8))) < 0.01


def test_a_weighted_mean_does_not_depend_on_how_large_weights_are() -> None:
    logit, target = torch.tensor([0.0, 2.0]), torch.ones(2)
    expected = (3 * math.log(2) + math.log1p(math.exp(-2))) / 4
    for factor in (1, 10):
        assert float(weighted_entropy(logit, target, factor * torch.tensor([3.0, 1.0]))) == pytest.approx(expected)


ONLY = {f.name: 0.0 for f in fields(LossWeights)}  # with one of them set, a term is looked at alone


def two_objects() -> tuple[torch.Tensor, torch.Tensor]:
    """A prediction and the truth, each 2 x 1 x 2 x 2: object 1 is right, object 2 is wrong in three pixels of four."""
    truth, prediction = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    truth[0] = prediction[0] = 1
    prediction[1].view(-1)[:3] = 1
    return prediction, truth


def test_reliability_of_a_frame_is_that_of_its_worst_object() -> None:
    prediction, truth = two_objects()
    output = SimpleNamespace(reliability=torch.full((1, 1, 1, 1), 0.9))
    weights = LossWeights(**{**ONLY, "correctness": 1.0})
    loss = judgement_loss(output, prediction, truth, torch.ones(2), weights)
    assert float(loss) == pytest.approx(-0.25 * math.log(0.9) - 0.75 * math.log(0.1), rel=1e-4)


def test_every_frame_of_the_memory_is_judged_by_its_worst_object() -> None:
    prediction, truth = two_objects()
    output = SimpleNamespace(
        correctness_logit=torch.zeros(2, 1, 1, 1),
        quality_logit=torch.zeros(2),
        frame_masks=torch.stack([prediction, truth]),
        frame_reliability=torch.tensor([1.0, -1.0]).view(2, 1, 1, 1),
    )
    weights = LossWeights(**{**ONLY, "frame_reliability": 1.0})
    loss = judgement_loss(output, prediction, truth, torch.ones(2), weights)
    wrong = 0.25 * math.log1p(math.exp(-1)) + 0.75 * math.log1p(math.exp(1))  # a quarter right, logit 1
    right = math.log1p(math.exp(1))  # all right, logit -1
    assert float(loss) == pytest.approx((wrong + right) / 2, rel=1e-4)


def test_quality_is_compared_with_the_true_j_of_what_wins() -> None:
    target = torch.zeros(2, 1, 2, 2)
    target[0] = 1
    probabilities = torch.tensor([0.3, 0.4, 0.3]).view(3, 1, 1).expand(3, 2, 2)  # object 1 wins with less than a half
    foreground = probabilities[1:, None]
    output = SimpleNamespace(
        foreground=foreground,
        logits=torch.logit(foreground),
        correctness_logit=torch.zeros(2, 1, 1, 1),
        quality_logit=torch.tensor([2.0, 2.0]),
    )
    weights = LossWeights(**{**ONLY, "quality": 1.0})
    loss, quality = propagation_loss(output, probabilities, target, weights)
    assert quality.tolist() == [1, 1]
    assert float(loss) == pytest.approx(math.log1p(math.exp(-2)), rel=1e-4)


def test_the_border_is_where_both_object_and_background_are_near() -> None:
    target = torch.zeros(1, 1, 1, 20)
    target[..., 10:] = 1
    assert border(target).flatten().nonzero().flatten().tolist() == [7, 8, 9, 10, 11, 12]
    assert border(torch.ones(1, 1, 9, 9)).sum() == 0
    # A wrong pixel at the border costs 1 + 2 times as much as one in the middle.
    weights = LossWeights(cross_entropy=1.0, jaccard=0.0, border=2.0)
    losses = []
    for place in (0, 9):
        logit = 20 * (2 * target - 1)
        logit[..., place] = 0
        losses.append(float(mask_loss(logit, torch.sigmoid(logit), target, weights)))
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-3)


def test_what_motion_leaves_unexplained_costs_its_size() -> None:
    assert float(motion_loss(torch.zeros(1, 3, 2, 2))) == pytest.approx(0, abs=1e-7)
    change = torch.tensor([0.5, -0.5, 0.0, 0.0]).view(1, 1, 2, 2)
    assert float(motion_loss(change)) == pytest.approx(0.5 * (math.hypot(0.5, 0.02) - 0.02), rel=1e-4)


def test_correctness_counts_pixels_per_cell() -> None:
    mask, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0] = 1
    right, weight = correctness(mask, target, (2, 2))
    assert right[0, 0].tolist() == [[0.75, 1], [1, 1]]
    assert weight[0, 0, 0, 0] == pytest.approx(1.1)


def test_ranking_loss_is_small_only_for_the_right_order() -> None:
    qualities = [torch.tensor(0.9), torch.tensor(0.4)]
    right = ranking_loss([torch.tensor(0.8), torch.tensor(0.3)], qualities)
    wrong = ranking_loss([torch.tensor(0.3), torch.tensor(0.8)], qualities)
    assert float(right) == pytest.approx(math.log1p(math.exp(-RANK_SHARPNESS * 0.5)), rel=1e-3)
    assert float(wrong) == pytest.approx(math.log1p(math.exp(RANK_SHARPNESS * 0.5)), rel=1e-3)
    assert float(ranking_loss([torch.tensor(0.3)] * 2, [torch.tensor(0.5)] * 2)) == 0  # nothing to rank
    alike = [torch.tensor(0.5), torch.tensor(0.51)]
    assert float(ranking_loss([torch.tensor(0.8), torch.tensor(0.3)], alike)) == 0  # by less than a pair must differ
