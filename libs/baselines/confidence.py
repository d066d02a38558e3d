"""The R-score of methods that have none: how sure the foreground is of itself."""

from __future__ import annotations

import torch
from torch import Tensor


def confidence(foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Score (0-dim, in [0, 1]) and map (1 x 1 x h x w, in [0, 1]) of foregrounds O x 1 x h x w in [0, 1].

    The map is `|2 p - 1|` of the least sure object; the score is its mean over the foreground.  A mask that was carried
    far is blurred, which is the only sign of trouble that these methods have.
    """
    sure = (2 * foreground.float() - 1).abs().amin(dim=0, keepdim=True)  # 1 x 1 x h x w
    union = foreground.float().amax(dim=0, keepdim=True)
    return (union * sure).sum() / (union.sum() + 0.1), sure


def hard_logit(mask: Tensor, *, certainty: float = 8.0) -> Tensor:
    """A finished mask (any shape, in [0, 1]) as logits whose sigmoid gives it back, kept within +-`certainty`."""
    return torch.logit(mask.float(), eps=1e-6).clamp(-certainty, certainty)
