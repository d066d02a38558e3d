"""Global transfer with reliability attention, and local transfer within a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.config import CompactConfig
from networks.compact.encoder import CompactFeatures
from networks.interface import MemoryEntry

MAX_TEMPERATURE = 40.0  # exp(-2 * 40) is still a float32: no maximum has to be subtracted before the exponential

OUTSIDE = -1e4  # its exponential is 0


@dataclass(frozen=True)
class CompactEntry(MemoryEntry):
    """One annotated frame."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("object_value", "mask")

    key: Tensor  # 1 x 64 x h x w
    value: Tensor  # 1 x 16 x h x w
    object_value: Tensor  # O x 24 x h x w
    mask: Tensor  # O x 4 x h x w, the annotated mask as quarters of cells


def rows(x: Tensor) -> Tensor:
    """A x C x h x w -> P x (A * C), float32: positions first, as matrix products want them."""
    return x.float().flatten(2).permute(2, 0, 1).flatten(1)


def affinity(query: Tensor, annotated: Tensor, temperature: Tensor) -> Tensor:
    """exp(t (cos - 1)) between unit vectors, P x C and P' x C -> P x P', values in (0, 1].

    Unnormalised on purpose: a column of ones among the transferred values gives the softmax's denominator in the same
    product, one pass over the big matrix less.
    """
    with torch.autocast(query.device.type, enabled=False):
        # In place: the matrix is the biggest tensor of the network, and touching fresh memory costs more than exp.
        return torch.addmm(-temperature, query * temperature, annotated.t()).exp_()


def temperature_of(logarithm: Tensor) -> Tensor:
    """The learned temperature, kept in range."""
    return logarithm.float().exp().clamp(max=MAX_TEMPERATURE)


@dataclass(frozen=True)
class Transferred:
    """What the annotated frames say about the query frame."""

    feature: Tensor  # O x 24 x h x w
    mask: Tensor  # O x 4 x h x w
    evidence: Tensor  # 1 x 4 x h x w: reliability logit, match strength, distance, ambiguity
    frame_mask: Tensor  # N x O x 4 x h x w, each annotated frame's own answer
    frame_reliability: Tensor  # N x 1 x h x w, logit of its being right


class GlobalTransfer(nn.Module):
    """Carries object features and masks of the annotated frames to a query frame (spec section 3, with the usual
    normalisation: softmax over the annotated positions for each query position).

    Each annotated frame gets a reliability logit per query position, from the strength of the match, the distance
    between transferred and own value (the paper's measure) and how undecided the transferred masks are.  It is trained
    directly against the correctness of the transferred mask, and the softmax over annotated frames weights them.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        self.log_temperature = nn.Parameter(torch.tensor(16.0).log())
        self.reliability = nn.Sequential(nn.Conv2d(5, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
        self.reliability_weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, query: CompactFeatures, memory: Sequence[CompactEntry]) -> Transferred:
        answers = [self._read(query, entry) for entry in memory]
        features, masks, logits, evidence = (torch.stack(part) for part in zip(*answers, strict=True))  # N x ...
        strength = evidence[:, 1:2]  # N x 1 x h x w, logarithm of the summed affinity
        # The log-sum makes this softmax start as one joint softmax over the positions of all annotated frames.
        attention = torch.softmax(strength + self.reliability_weight * logits, dim=0)  # N x 1 x h x w
        weight = attention[:, None]  # N x 1 x 1 x h x w
        return Transferred(
            feature=(weight * features).sum(0),
            mask=(weight * masks).sum(0),
            evidence=torch.cat(
                [
                    (attention * logits).sum(0, True),
                    (attention * evidence[:, 1:]).sum(0, True),
                ],
                1,
            ),
            frame_mask=masks,
            frame_reliability=logits,
        )

    def _read(self, query: CompactFeatures, entry: CompactEntry) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, channels = entry.object_value.shape[:2]
        height, width = query.key.shape[-2:]
        matrix = affinity(rows(query.key), rows(entry.key), temperature_of(self.log_temperature))  # P x P'
        value = rows(entry.value)
        columns = torch.cat(
            [
                value,
                rows(entry.object_value),
                rows(entry.mask),
                value.new_ones(len(value), 1),
            ],
            1,
        )
        with torch.autocast(value.device.type, enabled=False):
            moved = (matrix @ columns).t().unflatten(1, (height, width))  # columns x h x w
        total = moved[-1:] + 1e-30
        moved = moved[:-1] / total
        first = value.shape[1]
        feature = moved[first : first + count * channels].unflatten(0, (count, channels))
        mask = moved[first + count * channels :].unflatten(0, (count, 4))
        distance = (moved[:first] - query.value[0].float()) ** 2  # 16 x h x w
        strength = torch.log(total)
        best = torch.log(matrix.detach().amax(1).view(1, height, width))
        ambiguity = (4 * mask * (1 - mask)).mean(1).amax(0, keepdim=True)  # 1 x h x w
        inputs = torch.cat(
            [
                distance.amax(0, True),
                distance.mean(0, True),
                strength / 4,
                best / 4,
                ambiguity,
            ]
        )
        logit = self.reliability(inputs[None])[0].float()  # 1 x h x w
        evidence = torch.cat([logit, strength, distance.mean(0, True), ambiguity])  # 4 x h x w
        return feature, mask, logit, evidence


@dataclass(frozen=True)
class LocalMatch:
    """What the neighbouring frame says about the query frame."""

    mask: Tensor  # O x 4 x h x w
    strength: Tensor  # 1 x 1 x h x w, logarithm of the summed affinity
    flow: Tensor  # 1 x 2 x h x w, expected (x, y) offset into the neighbour, in cells


class LocalTransfer(nn.Module):
    """Matches every query position with the neighbouring frame's within +-`window` cells.

    The affinity is shared by all objects; besides carrying the mask it gives an expected offset, by which finer maps
    are warped.  Rows are matched in blocks: the window's rows only, a fraction of the full P x P product.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.reach, self.block = config.window, config.window_rows
        self.log_temperature = nn.Parameter(torch.tensor(16.0).log())
        offset = torch.arange(-self.reach, self.reach + 1).float()
        distance = (offset[:, None] ** 2 + offset[None] ** 2).flatten()
        self.position_bias = nn.Parameter(-0.1 * distance)  # small motion first, learned from there

    def forward(self, query: CompactFeatures, neighbour: CompactFeatures, mask: Tensor) -> LocalMatch:
        """`mask` O x 4 x h x w: the neighbour's masks as quarters of cells."""
        height, width = query.local_key.shape[-2:]
        place = self._positions(height, width, mask.device)  # 2 x h x w
        columns = torch.cat([mask.float().flatten(0, 1), place, torch.ones_like(place[:1])])  # K x h x w
        keys = self._blocks(neighbour.local_key[0].float())  # blocks x window positions x 32
        values = self._blocks(columns)  # blocks x window positions x K
        queries = query.local_key[0].float().permute(1, 2, 0).reshape(len(keys), self.block * width, -1)
        temperature = temperature_of(self.log_temperature)
        with torch.autocast(mask.device.type, enabled=False):
            bias = (self._window(width) - temperature)[None]  # 1 x query positions x window positions
            matrix = torch.baddbmm(bias, queries * temperature, keys.transpose(1, 2)).exp_()
            # Rows outside the frame carry zeros, also in the column of ones: they count for nothing.
            moved = matrix @ values  # blocks x query positions x K
        moved = moved.reshape(height, width, -1).permute(2, 0, 1)  # K x h x w
        total = moved[-1:] + 1e-30
        moved = moved[:-1] / total
        return LocalMatch(
            mask=moved[:-2].unflatten(0, (-1, 4)),
            strength=torch.log(total)[None],
            flow=(moved[-2:] - place)[None],
        )

    def _positions(self, height: int, width: int, device: torch.device) -> Tensor:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack([x, y]).float().to(device)

    def _blocks(self, x: Tensor) -> Tensor:
        """C x h x w -> blocks x ((block + 2 reach) * w) x C: the neighbour's rows that each block of queries sees."""
        padded = F.pad(x, (0, 0, self.reach, self.reach))
        windows = padded.unfold(1, self.block + 2 * self.reach, self.block)  # C x blocks x w x rows
        return windows.permute(1, 3, 2, 0).flatten(1, 2)

    def _window(self, width: int) -> Tensor:
        """Logarithmic weight of every (query, neighbour) pair of a block by their offset; `OUTSIDE` beyond the window."""
        device, side = self.position_bias.device, 2 * self.reach + 1
        query_row, near_row = (
            torch.arange(self.block),
            torch.arange(self.block + 2 * self.reach),
        )
        dy = near_row[None] - query_row[:, None]  # block x rows, 0 .. side - 1 inside
        column = torch.arange(width)
        dx = column[None] - column[:, None] + self.reach  # w x w
        inside = ((dy >= 0) & (dy < side))[:, None, :, None] & ((dx >= 0) & (dx < side))[None, :, None, :]
        index = dy.clamp(0, side - 1)[:, None, :, None] * side + dx.clamp(0, side - 1)[None, :, None, :]
        weight = self.position_bias.float()[index.to(device)]  # block x w x rows x w
        return weight.masked_fill(~inside.to(device), OUTSIDE).flatten(2).flatten(0, 1)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample `x` (A x C x m x n, any stride) where `flow` (1 x 2 x h x w, offsets in cells of the coarse grid) points."""
    height, width = x.shape[-2:]
    cell_height, cell_width = flow.shape[-2:]
    fine = F.interpolate(flow.float(), size=(height, width), mode="bilinear", align_corners=False)[0]  # 2 x m x n
    y = (torch.arange(height, device=x.device) + 0.5) * (2 / height) - 1
    x_axis = (torch.arange(width, device=x.device) + 0.5) * (2 / width) - 1
    grid = torch.stack(
        [
            x_axis[None] + fine[0] * (2 / cell_width),
            y[:, None] + fine[1] * (2 / cell_height),
        ],
        -1,
    )
    grid = grid.expand(x.shape[0], -1, -1, -1)
    with torch.autocast(x.device.type, enabled=False):
        return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
