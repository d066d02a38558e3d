"""The R-score: how far a frame's segmentation is to be trusted, as one number (spec: method.md, section 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

ScoreForeground = Literal["over_objects", "over_channels"]
FOREGROUND_THRESHOLD = 0.4
AREA_FLOOR = 0.1


def score_foreground(logits: Tensor, size: tuple[int, int], mode: ScoreForeground) -> Tensor:
    """Where the R-score sees foreground, B x O x 2 x H x W -> B x 1 x h x w of 0 and 1.

    `over_objects` is what the published code does and its numbers depend on: a softmax over the *objects* of the object
    logit.  With one object it is 1 everywhere, with two at least one of them always passes 0.4: all is foreground and
    the score is the mean of the reliability map.  `over_channels` is what was meant: object against background.
    """
    height, width = logits.shape[-2:]
    sampled = logits[..., :: height // size[0], :: width // size[1]]  # nearest
    if mode == "over_objects":
        probability = torch.softmax(sampled, dim=1)[:, :, 1]
    else:
        probability = torch.softmax(sampled, dim=2)[:, :, 1]  # B x O x h x w
    return (probability > FOREGROUND_THRESHOLD).any(dim=1, keepdim=True).to(logits.dtype)


def r_score(reliability: Tensor, foreground: Tensor) -> Tensor:
    """Mean of the reliability over frame and foreground, averaged.  B x 1 x h x w twice -> B, in (0, 1)."""
    reliability = reliability.float()
    foreground = foreground.float()
    inside = (foreground * reliability).sum(dim=(1, 2, 3)) / (foreground.sum(dim=(1, 2, 3)) + AREA_FLOOR)
    return 0.5 * (reliability.mean(dim=(1, 2, 3)) + inside)
