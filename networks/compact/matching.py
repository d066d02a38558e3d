"""Global transfer with reliability attention, and local transfer within a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.config import CompactConfig
from networks.compact.encoder import CompactFeatures
from networks.interface import MemoryEntry

INITIAL_TEMPERATURE = 40.0
MAX_TEMPERATURE = 64.0  # exp(64), summed over any frame, is far within float32, and so is exp(-64)
LOG2_E = math.log2(math.e)  # powers of two are computed in half the time of powers of e
BLOCK_BYTES = 6 << 20  # of the affinity, without gradients, on a CPU: small enough for a cache, few enough calls
BLOCK_BYTES_ELSEWHERE = 512 << 20  # there only large pictures are cut: a frame at 1080p has an affinity of 4 GB
COLUMN_GROUP = 16  # a product with 48 columns takes two thirds of the time of one with 45

SHARE_FLOOR = 0.01  # an object that is smaller than this share of the frame is not favoured any further
MASK_FLOOR = 0.002  # a transferred mask is never more certain than this
OUTSIDE = -1e4  # its exponential is 0
WINDOW_COLUMNS = 8  # query columns matched at once


@dataclass(frozen=True)
class CompactEntry(MemoryEntry):
    """One annotated frame, or one that was propagated a moment ago (then with `confidence`)."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("object_value", "mask")

    key: Tensor  # 1 x 96 x h x w
    value: Tensor  # 1 x 16 x h x w
    object_value: Tensor  # O x 24 x h x w
    mask: Tensor  # O x 4 x h x w, the annotated mask as quarters of cells
    confidence: Tensor | None = None  # 1 x 1 x h x w in (0, 1], how far its positions count; None: fully

    @property
    def passed(self) -> bool:
        """Whether it is a propagated frame, not an annotated one."""
        return self.confidence is not None


@dataclass(frozen=True)
class CompactReading(MemoryEntry):
    """What a query frame takes from one annotated frame."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("feature", "mask")
    passed: ClassVar[bool] = False

    feature: Tensor  # O x 24 x h x w
    mask: Tensor  # O x 4 x h x w, balanced
    match: Tensor  # 4 x h x w: largest and mean distance of values, strength, best match


def rows(x: Tensor) -> Tensor:
    """A x C x h x w -> P x (A * C), float32: positions first, as matrix products want them."""
    return x.float().flatten(2).permute(2, 0, 1).flatten(1)


def affinity(query: Tensor, annotated: Tensor, temperature: Tensor) -> Tensor:
    """exp(t cos) between unit vectors, P x C and P' x C -> P x P', positive, at most exp(64).

    Unnormalised on purpose: a column of ones among the transferred values gives the softmax's denominator in the same
    product, one pass over the big matrix less.
    """
    with torch.autocast(query.device.type, enabled=False):
        # In place: the matrix is the biggest tensor of the network, and touching fresh memory costs more than exp.
        return (query * (temperature * LOG2_E) @ annotated.t()).exp2_()


def largest(matrix: Tensor) -> Tensor:
    """`matrix.amax(1)` of numbers that are not negative, P x P' -> P; on a CPU in a fraction of the time.

    Such numbers are in the order of their bits, and PyTorch compares integers many at once.
    """
    if matrix.device.type != "cpu":
        return matrix.amax(1)
    bits = torch.int16 if matrix.dtype == torch.bfloat16 else torch.int32
    return matrix.view(bits).amax(1).view(matrix.dtype)


def transfer(
    query: Tensor, annotated: Tensor, columns: Tensor, temperature: Tensor, *, bfloat16: bool = False
) -> tuple[Tensor, Tensor]:
    """`affinity @ columns` and the rows' largest affinity: P x K and P, from P x C, P' x C and P' x K.

    Without gradients the affinity is made and used in blocks of query rows, on a CPU such as stay in its cache.  With
    `bfloat16` the products are computed in that format: half the time where the CPU has instructions for it, affinities
    some percent off.
    """
    width = columns.shape[1]
    columns = F.pad(columns, (0, -width % COLUMN_GROUP))
    limit = BLOCK_BYTES if query.device.type == "cpu" else BLOCK_BYTES_ELSEWHERE
    size = len(query) if torch.is_grad_enabled() else max(1, limit // (2 if bfloat16 else 4) // len(annotated))
    if bfloat16:
        return _transfer_bfloat16(query, annotated, columns, temperature, size, width)
    moved, best = [], []
    for part in query.split(size):
        matrix = affinity(part, annotated, temperature)  # block x P'
        with torch.autocast(query.device.type, enabled=False):
            moved.append((matrix @ columns)[:, :width])
        best.append(largest(matrix.detach()))
    return torch.cat(moved), torch.cat(best)


def _transfer_bfloat16(
    query: Tensor, annotated: Tensor, columns: Tensor, temperature: Tensor, size: int, width: int
) -> tuple[Tensor, Tensor]:
    """`transfer` with products in bfloat16, in blocks of `size` query rows; columns beyond `width` are padding."""
    sharpness = temperature * LOG2_E
    # The exponent has eight significant bits.  One more column makes it t (cos - 1), small where the match is good.
    shift = sharpness.bfloat16().float()  # as the products see it
    query = torch.cat([query * sharpness, (-shift).expand(len(query), 1)], 1).bfloat16()
    annotated = F.pad(annotated, (0, 1), value=1.0).bfloat16().t()
    columns = columns.bfloat16()
    moved, best = [], []
    with torch.autocast(query.device.type, enabled=False):
        for part in query.split(size):
            matrix = (part @ annotated).exp2_()  # block x P'
            moved.append((matrix @ columns)[:, :width])
            best.append(largest(matrix))
    scale = torch.exp2(shift)
    return torch.cat(moved).float() * scale, torch.cat(best).float() * scale


def temperature_of(logarithm: Tensor) -> Tensor:
    """The learned temperature, kept in range."""
    return logarithm.float().exp().clamp(max=MAX_TEMPERATURE)


@dataclass(frozen=True)
class Transferred:
    """What the annotated frames say about the query frame."""

    feature: Tensor  # O x 24 x h x w
    mask: Tensor  # O x 4 x h x w, balanced
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
        self.bfloat16 = False  # compute the matrix products in that format (see `transfer`)
        self.log_sharpness = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE).log())
        self.reliability = nn.Sequential(nn.Conv2d(5, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
        self.reliability_weight = nn.Parameter(torch.tensor(0.5))
        self.balance = nn.Parameter(torch.tensor(0.5))
        self.passed_weight = nn.Parameter(torch.tensor(-1.5))  # logarithm; of a propagated frame among annotated ones

    def forward(self, query: CompactFeatures, memory: Sequence[CompactEntry | CompactReading]) -> Transferred:
        readings = [r if isinstance(r, CompactReading) else self._read(query, r) for r in memory]
        features, masks, match = (
            torch.stack([getattr(r, name) for r in readings]) for name in ("feature", "mask", "match")
        )  # N x ...
        distance, strength = match[:, 1:2], match[:, 2:3]  # N x 1 x h x w; logarithm of the summed affinity
        ambiguity = (4 * masks * (1 - masks)).mean(2).amax(1, keepdim=True)  # N x 1 x h x w
        inputs = torch.cat([match[:, :2], match[:, 2:] / 4, ambiguity], 1)
        logits = self.reliability(inputs).float()  # N x 1 x h x w
        # The log-sum makes this softmax start as one joint softmax over the positions of all annotated frames.
        attention = torch.softmax(strength + self.reliability_weight * logits, dim=0)  # N x 1 x h x w
        weight = attention[:, None]  # N x 1 x 1 x h x w
        return Transferred(
            feature=(weight * features).sum(0),
            mask=(weight * masks).sum(0),
            evidence=(attention * torch.cat([logits, strength, distance, ambiguity], 1)).sum(0, True),
            frame_mask=masks,
            frame_reliability=logits,
        )

    def read(self, query: CompactFeatures, entry: CompactEntry) -> CompactReading:
        """What one annotated frame brings to the query (shapes: `CompactReading`): all the matrix products there are.

        For `forward`, in the entry's place, now or in a later round.
        """
        reading = self._read(query, entry)
        # A copy, lest a view keeps everything in memory that was transferred.
        return replace(reading, feature=reading.feature.clone())

    def _read(self, query: CompactFeatures, entry: CompactEntry) -> CompactReading:
        count, channels = entry.object_value.shape[:2]
        height, width = query.key.shape[-2:]
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
        if entry.confidence is not None:
            columns = columns * (rows(entry.confidence) * self.passed_weight.float().exp())
        temperature = temperature_of(self.log_sharpness)
        moved, best = transfer(
            rows(query.key), rows(entry.key), columns, temperature, bfloat16=self.bfloat16 and not self.training
        )
        moved = moved.t().unflatten(1, (height, width))  # columns x h x w
        total = moved[-1:] + 1e-30  # the passed frames' confidence may be 0
        moved = moved[:-1] / total
        first = value.shape[1]
        feature = moved[first : first + count * channels].unflatten(0, (count, channels))
        mask = moved[first + count * channels :].unflatten(0, (count, 4))
        mask = self._balanced(mask, entry.mask)
        distance = (moved[:first] - query.value[0].float()) ** 2  # 16 x h x w
        strength = torch.log(total) - temperature  # 0 for one position that is the same
        best = torch.log(best.view(1, height, width)) - temperature
        match = torch.cat([distance.amax(0, True), distance.mean(0, True), strength, best])
        return CompactReading(feature, mask, match)

    def _balanced(self, mask: Tensor, annotated: Tensor) -> Tensor:
        """The transferred mask as if object and background were more alike in size; both O x 4 x h x w.

        Background is most of a frame, and by number alone it outvotes an object wherever the match is vague: of seven
        real sequences, true masks given, the plain transfer reaches J .60, the balanced one .68.  Weighting annotated
        positions by class is the same as a shift of the logit.
        """
        share = annotated.float().mean((1, 2, 3), keepdim=True)  # O x 1 x 1 x 1
        shift = self.balance * torch.log((1 - share + SHARE_FLOOR) / (share + SHARE_FLOOR))
        p = mask.clamp(MASK_FLOOR, 1 - MASK_FLOOR)
        return torch.sigmoid(torch.log(p / (1 - p)) + shift)


@dataclass(frozen=True)
class LocalMatch:
    """What the neighbouring frame says about the query frame."""

    mask: Tensor  # O x 4 x h x w
    strength: Tensor  # 1 x 1 x h x w, logarithm of the summed affinity
    flow: Tensor  # 1 x 2 x h x w, expected (x, y) offset into the neighbour, in cells


class LocalTransfer(nn.Module):
    """Matches every query position with the neighbouring frame's within +-`window` cells.

    The affinity is shared by all objects; besides carrying the mask it gives an expected offset, by which finer maps
    are warped.  Blocks of query positions are matched with what their windows cover together: a fifth of the full
    P x P product at 240x432.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.reach, self.block = config.window, (config.window_rows, WINDOW_COLUMNS)
        self.log_sharpness = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE).log())
        offset = torch.arange(-self.reach, self.reach + 1).float()
        distance = (offset[:, None] ** 2 + offset[None] ** 2).flatten()
        self.position_bias = nn.Parameter(-0.1 * distance)  # small motion first, learned from there

    def forward(self, query: CompactFeatures, neighbour: CompactFeatures, mask: Tensor) -> LocalMatch:
        """`mask` O x 4 x h x w: the neighbour's masks as quarters of cells."""
        height, width = query.key.shape[-2:]
        place = self._positions(height, width, mask.device)  # 2 x h x w
        columns = torch.cat([mask.float().flatten(0, 1), place, torch.ones_like(place[:1])])  # K x h x w
        keys = self._windows(neighbour.key[0].float(), self.reach)  # blocks x window positions x 96
        values = self._windows(columns, self.reach)  # blocks x window positions x K
        queries = self._windows(query.key[0].float(), 0)  # blocks x positions x 96
        temperature = temperature_of(self.log_sharpness)
        with torch.autocast(mask.device.type, enabled=False):
            bias = (self._bias() - temperature)[None] * LOG2_E  # 1 x positions x window positions
            matrix = torch.baddbmm(bias, queries * (temperature * LOG2_E), keys.transpose(1, 2)).exp2_()
            # Positions outside the frame carry zeros, also in the column of ones: they count for nothing.
            moved = matrix @ values  # blocks x positions x K
        moved = self._joined(moved, height, width)  # K x h x w
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

    def _windows(self, x: Tensor, reach: int) -> Tensor:
        """C x h x w -> blocks x positions x C: every block of the grid with `reach` positions around it."""
        (rows_, columns), (height, width) = self.block, x.shape[-2:]
        below, right = -height % rows_, -width % columns
        # Channels last before the blocks are cut out: whole rows of a window are copied at once.
        padded = F.pad(x.permute(1, 2, 0), (0, 0, reach, reach + right, reach, reach + below))
        windows = padded.unfold(0, rows_ + 2 * reach, rows_).unfold(1, columns + 2 * reach, columns)
        return windows.permute(0, 1, 3, 4, 2).flatten(2, 3).flatten(0, 1)  # from down x across x C x rows x columns

    def _joined(self, x: Tensor, height: int, width: int) -> Tensor:
        """The blocks put together again: blocks x positions x K -> K x h x w."""
        (rows_, columns), across = self.block, -(-width // self.block[1])
        grid = x.unflatten(1, (rows_, columns)).unflatten(0, (-1, across))  # down x across x rows x columns x K
        return grid.permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]

    def _bias(self) -> Tensor:
        """Logarithmic weight of every pair of a block's position and one of its window, by their offset; `OUTSIDE`
        beyond the reach.  positions x window positions."""
        device, side = self.position_bias.device, 2 * self.reach + 1
        dy, dx = (
            torch.arange(size + 2 * self.reach, device=device)[None] - torch.arange(size, device=device)[:, None]
            for size in self.block
        )  # position x window position in one direction, 0 .. side - 1 within reach
        inside = ((dy >= 0) & (dy < side))[:, None, :, None] & ((dx >= 0) & (dx < side))[None, :, None, :]
        index = dy.clamp(0, side - 1)[:, None, :, None] * side + dx.clamp(0, side - 1)[None, :, None, :]
        weight = self.position_bias.float()[index]  # rows x columns x window rows x window columns
        return weight.masked_fill(~inside, OUTSIDE).flatten(2).flatten(0, 1)


class FlowRefinement(nn.Module):
    """Makes the offsets of the local matching precise: each moves to where the finer maps of both frames agree best.

    The expected offset at stride 8 is some pixels off, which is most of what a step of the propagation loses.  Seven
    real sequences, true masks given, J of the mask warped to the next frame: .83, with a refinement at stride 4 by
    learned keys .85, with another at stride 2 by colours .87.
    """

    def __init__(self, reach: int, *, sharpness: float, slope: float) -> None:
        """`reach` in cells to each side; `sharpness` of the agreement, `slope` of the bias to stay, to begin with."""
        super().__init__()
        self.reach = reach
        self.offsets = [(x, y) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
        self.log_sharpness = nn.Parameter(torch.tensor(sharpness).log())
        self.position_bias = nn.Parameter(torch.tensor([-slope * (x * x + y * y) for x, y in self.offsets]))

    def forward(self, query: Tensor, neighbour: Tensor, flow: Tensor) -> Tensor:
        """`query`, `neighbour` 1 x K x m x n; `flow` 1 x 2 x h x w, in cells of its grid -> 1 x 2 x m x n, in cells of
        that grid."""
        height, width = query.shape[-2:]
        scale = width / flow.shape[-1]
        coarse = F.interpolate(flow.float() * scale, size=(height, width), mode="bilinear", align_corners=False)
        moved = F.pad(warp(neighbour, coarse), (self.reach,) * 4, mode="replicate")
        # The squared distance less |query|^2, which is the same for all offsets.
        length, twice = (moved**2).sum(1), 2 * query.contiguous()
        distances = []
        for x, y in self.offsets:
            rows_ = slice(y + self.reach, y + self.reach + height)
            columns = slice(x + self.reach, x + self.reach + width)
            distances.append(length[:, rows_, columns] - (twice * moved[..., rows_, columns]).sum(1))
        distance = torch.stack(distances, 1)  # 1 x offsets x m x n
        # Neighbours move alike: without the mean, single positions are led astray by noise.
        distance = _mean3(distance)
        sharpness = temperature_of(self.log_sharpness)
        weight = torch.softmax(self.position_bias.float().view(1, -1, 1, 1) - sharpness * distance, 1)
        offset = torch.tensor(self.offsets, dtype=weight.dtype, device=weight.device).t()  # 2 x offsets
        with torch.autocast(weight.device.type, enabled=False):
            return coarse + (offset @ weight.flatten(2)).unflatten(2, (height, width))


def _mean3(x: Tensor) -> Tensor:
    """Mean over 3 x 3 positions, the outermost ones repeated outside: a tenth of the time of `avg_pool2d` on a CPU."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    return (x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]) / 9


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample `x` (A x C x m x n, any stride) where `flow` (1 x 2 x h x w, offsets in cells of its own grid) points."""
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
    padding = "border"
    if x.device.type == "mps":  # which has no such padding before PyTorch 2.11
        grid, padding = clamped(grid, height, width), "zeros"
    with torch.autocast(x.device.type, enabled=False):
        return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode=padding, align_corners=False)


def clamped(grid: Tensor, height: int, width: int) -> Tensor:
    """A grid for `grid_sample` (... x 2, x and y in -1 .. 1) that stays between the outermost cells' centres: sampled
    with any padding it gives, but for rounding, what the border's padding gives."""
    margin = torch.tensor([1 / width, 1 / height], device=grid.device)
    return torch.maximum(torch.minimum(grid, 1 - margin), margin - 1)
