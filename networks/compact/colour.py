"""Colour as evidence: which pixels look like those that strokes and the previous mask call the object."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.matching import transfer

MOST_STROKED = 1024  # stride-4 cells; more of them cost time and say no more
FLOOR = 1e-2  # mean likeness that counts as "nothing like it"
LIMIT = 4.0  # of the logits
# RGB -> brightness and two opponent colours, the same in all directions of grey
OPPONENT = ((0.30, 0.59, 0.11), (0.50, -0.50, 0.00), (-0.25, -0.25, 0.50))


class ColourEvidence(nn.Module):
    """Kernel densities of colour, of the object's pixels against the others', as bounded logits at stride 4.

    A learned feature knows what it met in training; a colour model is made afresh from the strokes of this very frame,
    as GrabCut's is, so it also serves what was never seen.
    """

    channels = 6

    def __init__(self) -> None:
        super().__init__()
        self.space = nn.Parameter(torch.tensor(OPPONENT))
        # Widths of the kernels: colour (input units, -1 .. 1) alone, then with distance (of the frame's height).
        self.log_width = nn.Parameter(torch.tensor([0.12, 0.15]).log())
        self.log_reach = nn.Parameter(torch.tensor(0.2).log())

    def forward(self, colour: Tensor, planes: Tensor) -> Tensor:
        """O x 6 x m x n: for each of the two kernels the logit by strokes, its support, and the logit by the previous
        mask.  `colour` 1 x 3 x m x n (stride 4); `planes` O x 3 x H x W: previous mask -1 .. 1, positive, negative."""
        with torch.autocast(colour.device.type, enabled=False):
            size = colour.shape[-2:]
            point = self._points(colour.float())  # P x 5: colour, place
            planes = planes.float()
            stroked = F.max_pool2d(planes[:, 1:], 4).flatten(2).permute(2, 1, 0)  # P x 2 x O, positive and negative
            touched = torch.nonzero(stroked.amax((1, 2)) > 0)[:, 0]
            touched = touched[:: max(1, -(-len(touched) // MOST_STROKED))]
            if not len(touched):
                touched = touched.new_zeros(1)  # some cell, which no stroke speaks for
            before = F.avg_pool2d(planes[:, :1], 4)[:, :, 2::4, 2::4].flatten(2)[:, 0].t()  # Q x O, a sparse grid
            sparse = point.t().unflatten(1, size)[:, 2::4, 2::4].flatten(1).t()  # Q x 5
            before = torch.stack([before.clamp(min=0), (-before).clamp(min=0)], 1)  # Q x 2 x O
            maps = []
            for kernel in range(2):
                maps += self._densities(point, point[touched], stroked[touched], kernel)
                maps.append(self._densities(point, sparse, before, kernel)[0])
            return torch.stack(maps, 2).permute(1, 2, 0).unflatten(2, size)

    def _points(self, colour: Tensor) -> Tensor:
        height, width = colour.shape[-2:]
        seen = torch.einsum("kc,chw->khw", self.space, colour[0])
        y = ((torch.arange(height, device=colour.device) + 0.5) / height).view(1, -1, 1).expand(1, height, width)
        x = ((torch.arange(width, device=colour.device) + 0.5) / height).view(1, 1, -1).expand(1, height, width)
        return torch.cat([seen, y, x]).flatten(1).t()

    def _densities(self, query: Tensor, known: Tensor, weight: Tensor, kernel: int) -> list[Tensor]:
        """Logit and support, each P x O; `known` K x 5 points with `weight` K x 2 x O (for, against the object)."""
        narrow = torch.exp(-self.log_width[kernel]) * 0.5**0.5
        reach = torch.exp(-self.log_reach) * 0.5**0.5 * (1.0 if kernel else 0.0)
        scale = torch.cat([narrow.expand(3), reach.expand(2)])
        q, k = query * scale, known * scale
        # -|q - k|^2 as one product, so that the kernel is an affinity: exp(q' k') with two columns more.
        squares = [(x * x).sum(1, keepdim=True) for x in (q, k)]
        q = torch.cat([2 * q, -squares[0], -torch.ones_like(squares[0])], 1)
        k = torch.cat([k, torch.ones_like(squares[1]), squares[1]], 1)
        likeness, _ = transfer(q, k, weight.flatten(1), torch.ones(()))  # P x 2 O
        density = (likeness / (weight.flatten(1).sum(0) + 1e-6)).unflatten(1, weight.shape[1:])  # P x 2 x O
        logarithm = torch.log(density + FLOOR)
        logit = (logarithm[:, 0] - logarithm[:, 1]).clamp(-LIMIT, LIMIT)
        return [logit / 2, logarithm.amax(1) / 4]
