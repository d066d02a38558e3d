"""Losses against figures worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from libs.training.losses import (
    JACCARD_OFFSET,
    RANK_SHARPNESS,
    border,
    correctness,
    jaccard,
    logit_of,
    mask_loss,
    motion_loss,
    object_targets,
    ranking_loss,
    soft_jaccard,
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
    # overlap 1, union 2 + 2 - 1 = 3
    assert float(soft_jaccard(probability, target)) == pytest.approx(1 - (1 + JACCARD_OFFSET) / (3 + JACCARD_OFFSET))
    assert float(soft_jaccard(target, target)) == pytest.approx(0)


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
