"""The terms of the loss.  Every function returns a scalar tensor in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from libs.segmenter import FrameResult
from libs.training.recipe import LossWeights
from networks.interface import Propagation

BORDER = 3  # pixels to each side that count as an object's border
MOTION_OFFSET = 0.02  # colours (-1 .. 1) that differ by less are all but the same
JACCARD_OFFSET = 20.0  # pixels: an absent object that is predicted absent costs next to nothing
RANK_MARGIN = 0.02  # frames whose J differs by less are not ranked
RANK_SHARPNESS = 12.0


def object_targets(truth: Tensor, count: int) -> Tensor:
    """uint8 H x W of ids 1 .. O -> float32 O x 1 x H x W."""
    ids = torch.arange(1, count + 1, device=truth.device).view(-1, 1, 1, 1)
    return (truth[None, None] == ids).float()


def soft_jaccard(probability: Tensor, target: Tensor) -> Tensor:
    """1 - soft J, mean over objects; both O x 1 x H x W."""
    sums = (1, 2, 3)
    overlap = (probability * target).sum(sums)
    union = (probability + target).sum(sums) - overlap
    return (1 - (overlap + JACCARD_OFFSET) / (union + JACCARD_OFFSET)).mean()


def jaccard(prediction: Tensor, target: Tensor) -> Tensor:
    """J per object, O; both O x 1 x H x W of 0 and 1.  Two empty masks agree: 1."""
    sums = (1, 2, 3)
    overlap = (prediction * target).sum(sums)
    union = (prediction + target).sum(sums) - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union))


def logit_of(propagation: Propagation) -> Tensor:
    """Each object's own logit, O x 1 x H x W in float32, whichever network it comes from.

    Heads give one logit per object (O x 1) or two (O x 2, background and object).  That of the probability is the last
    resort: it is cut off where a network is all but certain, and what is wrong there then has no gradient.
    """
    logits, foreground = propagation.logits, propagation.foreground
    if logits is not None and logits.shape == foreground.shape:
        return logits.float()
    if logits is not None and logits.shape == (len(foreground), 2, *foreground.shape[-2:]):
        return logits[:, 1:].float() - logits[:, :1].float()
    return torch.logit(foreground.float(), eps=1e-6)


def mask_loss(logit: Tensor, probability: Tensor, target: Tensor, weights: LossWeights) -> Tensor:
    """Cross entropy of each object on its own, and soft J of the settled probabilities."""
    weight = 1 + weights.border * border(target) if weights.border else None
    entropy = F.binary_cross_entropy_with_logits(logit.float(), target, weight)
    return weights.cross_entropy * entropy + weights.jaccard * soft_jaccard(probability.float(), target)


def border(target: Tensor) -> Tensor:
    """1 within `BORDER` pixels of where O x 1 x H x W of 0 and 1 changes, else 0."""
    both = F.max_pool2d(torch.cat([target, 1 - target], 1), 2 * BORDER + 1, stride=1, padding=BORDER)
    return both.prod(1, keepdim=True)


def carried_loss(mask: Tensor, target: Tensor) -> Tensor:
    """Of a mask carried from another frame (any stride): cross entropy and soft J against the truth at its size."""
    target = F.adaptive_avg_pool2d(target, mask.shape[-2:])
    mask = mask.float().clamp(1e-3, 1 - 1e-3)
    # Written out: F.binary_cross_entropy raises on NaN, and a step that is not finite must be skipped, not end the run.
    entropy = -(target * mask.log() + (1 - target) * (1 - mask).log()).mean()
    return entropy + soft_jaccard(mask, target)


def motion_loss(change: Tensor) -> Tensor:
    """Mean size of what the motion leaves unexplained, 1 x 3 x m x n colours.

    Big differences (what was hidden comes into view, a light goes on) count by less than their square.
    """
    return torch.sqrt(change.float() ** 2 + MOTION_OFFSET**2).mean() - MOTION_OFFSET


def correctness(mask: Tensor, target: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Share of right pixels per cell, and a weight that favours cells with anything in them; both O x 1 x h x w."""
    wrong = ((mask > 0.5) != (target > 0.5)).float()
    right = 1 - F.adaptive_avg_pool2d(wrong, size)
    busy = F.adaptive_max_pool2d(torch.maximum(mask, target), size)
    return right, 0.1 + F.max_pool2d(busy, 3, stride=1, padding=1)


def weighted_entropy(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross entropy, weighted mean."""
    entropy = F.binary_cross_entropy_with_logits(logit.float(), target, reduction="none")
    return (entropy * weight).sum() / weight.sum()


def propagation_loss(
    output: Propagation, probabilities: Tensor, target: Tensor, weights: LossWeights
) -> tuple[Tensor, Tensor]:
    """Everything about one frame, and its true J per object (O, without gradient).

    `probabilities` (1 + O) x H x W settled between the objects; `target` O x 1 x H x W.
    """
    settled = probabilities[1:, None]
    loss = mask_loss(logit_of(output), settled, target, weights)
    with torch.no_grad():
        hard = (settled >= probabilities.amax(0)).float()  # O x 1 x H x W; amax is ten times faster than argmax
        true_quality = jaccard(hard, target)
    for name in ("transferred", "matched", "warped"):
        mask = getattr(output, name, None)
        if mask is not None:
            loss = loss + getattr(weights, name) * carried_loss(mask, target)
    if getattr(output, "change", None) is not None:
        loss = loss + weights.motion * motion_loss(output.change)
    return loss + judgement_loss(output, hard, target, true_quality, weights), true_quality


def judgement_loss(
    output: Propagation,
    hard: Tensor,
    target: Tensor,
    true_quality: Tensor,
    weights: LossWeights,
) -> Tensor:
    """Reliability and predicted quality against what is true of this very prediction."""
    loss = target.new_zeros(())
    correctness_logit = getattr(output, "correctness_logit", None)
    if correctness_logit is not None:
        right, weight = correctness(hard, target, correctness_logit.shape[-2:])
        loss = loss + weights.correctness * weighted_entropy(correctness_logit, right, weight)
        quality = F.binary_cross_entropy_with_logits(output.quality_logit.float(), true_quality)
        loss = loss + weights.quality * quality
    else:  # a network that has only a reliability map
        right, weight = correctness(hard, target, output.reliability.shape[-2:])
        logit = torch.logit(output.reliability.float(), eps=1e-4)
        loss = loss + weights.correctness * weighted_entropy(
            logit, right.amin(0, keepdim=True), weight.amax(0, keepdim=True)
        )
    frame_masks = getattr(output, "frame_masks", None)
    if frame_masks is not None:
        small = F.adaptive_avg_pool2d(target, frame_masks.shape[-2:])
        for mask, logit in zip(frame_masks.detach().float(), output.frame_reliability):
            right, weight = correctness(mask, small, logit.shape[-2:])
            worst, weight = right.amin(0, keepdim=True), weight.amax(0, keepdim=True)
            term = weighted_entropy(logit[None], worst, weight)
            loss = loss + weights.frame_reliability / len(frame_masks) * term
    return loss


def ranking_loss(scores: Sequence[Tensor], qualities: Sequence[Tensor]) -> Tensor:
    """Pairwise logistic loss: of two frames of a clip the better one shall have the higher R-score.

    `scores` scalars with gradients, `qualities` mean J of the same frames.
    """
    score, quality = torch.stack(list(scores)).float(), torch.stack(list(qualities))
    difference = quality[:, None] - quality[None]
    pairs = (difference > RANK_MARGIN).float()
    losses = F.softplus(-RANK_SHARPNESS * (score[:, None] - score[None]))
    return (losses * pairs).sum() / pairs.sum().clamp(min=1)


def interaction_loss(result: FrameResult, target: Tensor, weights: LossWeights) -> Tensor:
    """Of the interaction branch's own mask on the annotated frame."""
    logit = result.interaction_logit.float()
    return weights.interaction * mask_loss(logit, torch.sigmoid(logit), target, weights)
