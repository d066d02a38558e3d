"""Where the result is right, and how good it is: reliability map, predicted J, R-score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 32
# Of the logit of an object's J, for e times as thick an object.  A border that is off by some pixels all along costs a
# thin object more J, by a whole logit; a part of that the head, which counts cells of 8 x 8 pixels, has found already.
# Measured in checkpoints/gis-compact-measurements.md, "The R-score" (how thin the masks are).
THICKNESS = 0.7


@dataclass(frozen=True)
class Quality:
    """Judgement of one frame's masks."""

    correctness_logit: Tensor  # O x 1 x h x w, logit of the share of a cell's pixels that are right
    quality_logit: Tensor  # O, logit of each object's J
    reliability: Tensor  # 1 x 1 x h x w, in (0, 1]: all objects right
    score: Tensor  # scalar in (0, 1), R-score: mean of the objects' predicted J, less where they are thin


def thickness(foreground: Tensor) -> Tensor:
    """Logarithm of each mask's area over its border's length, O, in float32; 0 if that is a cell's side of 8 pixels,
    or the object is gone.  `foreground` O x 1 x H x W in [0, 1]."""
    # Every second row and column: the same correlation for a quarter of the time.
    mask = foreground[:, 0, ::2, ::2] > 0.5  # O x H/2 x W/2
    parts = (mask, mask[:, 1:] != mask[:, :-1], mask[:, :, 1:] != mask[:, :, :-1])
    area, across, along = (part.flatten(1).count_nonzero(1) for part in parts)
    side = 4  # of a cell, in these
    return torch.log((area + side**2) / (side * (across + along) + side**2))  # a cell more: the smallest say little


class QualityHead(nn.Module):
    """Trained directly, on the masks that the network itself makes; the segmentation loss hardly teaches it.

    Correctness per cell comes first.  The expected J follows from it by counting (cells called foreground that are
    wrong, cells called background that are wrong), and a small network over pooled features corrects that count.
    """

    def __init__(self, trunk: int) -> None:
        super().__init__()
        self.cell = nn.Conv2d(trunk + 9, HIDDEN, 1)
        self.correct = nn.Conv2d(HIDDEN, 1, 1)
        nn.init.constant_(self.correct.bias, 2.0)
        self.frame = nn.Sequential(nn.Linear(2 * HIDDEN + 2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        nn.init.zeros_(self.frame[-1].weight)
        nn.init.zeros_(self.frame[-1].bias)

    def forward(
        self,
        trunk: Tensor,
        foreground: Tensor,
        transferred: Tensor,
        warped: Tensor,
        evidence: Tensor,
        strength: Tensor,
    ) -> Quality:
        """`foreground` O x 1 x H x W; `transferred` O x 4 x h x w; `warped` O x 1 x H/4 x W/4; `evidence`
        1 x 4 x h x w; `strength` 1 x 1 x h x w."""
        count = trunk.shape[0]
        # The masks are judged, not changed: no gradient into them from here.
        p = F.avg_pool2d(foreground.detach().float(), 8)  # O x 1 x h x w
        carried = transferred.detach().float().mean(1, keepdim=True)
        moved = F.avg_pool2d(warped.detach().float(), 2)
        shared = torch.cat([evidence, strength], 1).detach() / 4
        differences = [p, (p - carried).abs(), (p - moved).abs(), p * (1 - p)]
        inputs = torch.cat([trunk, *differences, shared.expand(count, -1, -1, -1)], 1)
        hidden = F.relu(self.cell(inputs)).float()  # O x 32 x h x w
        logit = self.correct(hidden).float()  # O x 1 x h x w
        right = torch.sigmoid(logit)
        sums = (1, 2, 3)
        hit, false_positive = (p * right).sum(sums), (p * (1 - right)).sum(sums)
        miss = ((1 - p) * (1 - right)).sum(sums)
        counted = torch.logit(((hit + 0.2) / (hit + false_positive + miss + 0.4)).clamp(0.01, 0.99))  # O
        area = p.sum(sums)
        inside = (hidden * p).sum((2, 3)) / (area[:, None] + 0.5)  # O x 32
        border = (hidden * p * (1 - p)).sum((2, 3)) / ((p * (1 - p)).sum((2, 3)) + 0.5)  # O x 32
        pooled = torch.cat([inside, border, counted[:, None] / 2, torch.log1p(area)[:, None] / 4], 1)
        quality_logit = counted + self.frame(pooled)[:, 0].float()  # O
        reliability = right.prod(dim=0, keepdim=True)  # 1 x 1 x h x w
        # What J of a frame means, the mean over its objects.  Of what was tried (the count alone, the weakest object,
        # the lower of two judgements, less where masks are undecided, less far from annotated frames) this ranks the
        # frames of real videos best.
        score = torch.sigmoid(quality_logit + THICKNESS * thickness(foreground)).mean()
        return Quality(logit, quality_logit, reliability, score)
