"""3x3 and 5x5 convolutions on a CPU with a fifth of the multiplications (Winograd's minimal filtering).

A convolution is a product of polynomials.  Evaluated at eight points (0, +-1, +-2, +-1/2, infinity) in both directions
it becomes 64 independent products per tile of 8 x 8 inputs, each of them a matrix product over the channels, and the
tile's outputs are read back by interpolation: 6 x 6 of them for a 3x3 kernel (1.8 products per output instead of 9), 4
x 4 for a 5x5 kernel (4 instead of 25).  Transforming tiles there and back costs additions only, each worth it from
about 64 channels on.  Rounding is about eight times that of the direct sum: 4e-6 of the output's size (root mean
square).

Source: A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POINTS = 8
PAIRS = (1.0, 2.0, 0.5)  # the points +-a; the other two are 0 and infinity
CHUNK_BYTES = 12 << 20  # size of the transformed tiles that exist at a time: they should stay in the CPU's cache
MIN_CHANNELS = 64
MIN_POSITIONS = 1024  # smaller maps have too few tiles for a matrix product
MIN_POSITIONS_ONCE = 4096  # on smaller maps, weights that are transformed for one call cost what the call saves


class WinogradConv2d(nn.Conv2d):
    """`nn.Conv2d` (stride 1, no dilation, size kept) that takes the short way where it can, with the same weights.

    The short way is for inference in float32 on a CPU; otherwise this is the plain convolution.  `keep` says whether
    the transformed weights are kept between calls (7 times the size of 3x3 weights, 2.6 times that of 5x5 ones) or made
    anew by each call (some 3 % of its time at 480 x 854).
    """

    @classmethod
    def of(cls, conv: nn.Conv2d, *, keep: bool = True) -> WinogradConv2d:
        """The same convolution, sharing the weights."""
        kernel, bias = conv.kernel_size[0], conv.bias is not None
        with torch.device("meta"):
            new = cls(conv.in_channels, conv.out_channels, kernel, padding=kernel // 2, bias=bias)
        new.weight, new.bias, new.training, new.keep = conv.weight, conv.bias, conv.training, keep
        return new

    @staticmethod
    def suits(conv: nn.Module) -> bool:
        """Whether the short way exists for this module, and pays."""
        return (
            type(conv) is nn.Conv2d
            and conv.kernel_size in ((3, 3), (5, 5))
            and conv.padding == (conv.kernel_size[0] // 2,) * 2
            and conv.padding_mode == "zeros"
            and conv.stride == conv.dilation == (1, 1)
            and conv.groups == 1
            and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
        )

    def __init__(self, *arguments: int, **options: int | bool) -> None:
        super().__init__(*arguments, **options)
        self.keep = True
        self._transformed: dict[tuple[int, int], tuple[int, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x, 0, bias=True)

    def part(self, x: Tensor, first: int, *, bias: bool) -> Tensor:
        """What the input channels `first ..` contribute, `x` being those channels (see `layers.conv_part`)."""
        added = self.bias if bias else None
        if not _takes_short_way(x, MIN_POSITIONS if self.keep else MIN_POSITIONS_ONCE):
            weight = self.weight[:, first : first + x.shape[1]]
            return F.conv2d(x, weight, added, self.stride, self.padding)
        weight = self._transformed_weight(first, first + x.shape[1])
        return winograd_convolution(x, weight, added, self.kernel_size[0])

    def _transformed_weight(self, first: int, last: int) -> Tensor:
        # Weights that were made under inference mode do not count their changes; they can hardly be changed, either.
        now = 0 if self.weight.is_inference() else self.weight._version
        version, kept = self._transformed.get((first, last), (-1, None))
        if kept is not None and version == now:
            return kept
        transformed = transform_weight(self.weight[:, first:last])
        if self.keep:
            self._transformed[first, last] = (now, transformed)
        return transformed


def is_plain_inference(x: Tensor) -> bool:
    """No gradients, float32, CPU, no autocast; and not while `torch.compile` traces: it has fast ways of its own."""
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(x.device.type)
    )


def _takes_short_way(x: Tensor, min_positions: int) -> bool:
    positions = x.shape[0] * x.shape[2] * x.shape[3]
    return is_plain_inference(x) and x.shape[1] >= MIN_CHANNELS and positions >= min_positions


def transform_weight(weight: Tensor) -> Tensor:
    """K x C x r x r -> 64 x C x K: the kernel's polynomial at the 8 x 8 points, weighted for the interpolation."""
    kernel = weight.shape[-1]
    points = [0.0, *(sign * a for a in PAIRS for sign in (1.0, -1.0))]
    matrix = torch.zeros(POINTS, kernel, dtype=torch.float64, device=weight.device)
    for row, point in enumerate(points):
        scale = 1.0
        for other in points[:row] + points[row + 1 :]:
            scale *= point - other
        for power in range(kernel):
            matrix[row, power] = point**power / scale
    matrix[-1, -1] = 1.0
    along = torch.einsum("ai,kcij->akcj", matrix.to(weight.dtype), weight)
    return torch.einsum("bj,akcj->abck", matrix.to(weight.dtype), along).reshape(POINTS**2, *weight.shape[1::-1])


def winograd_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: int) -> Tensor:
    """Convolution that keeps the size: x B x C x H x W, `weight` 64 x C x K as transformed -> B x K x H x W.

    Not differentiable (buffers are reused); the result is channels-last.
    """
    batch, channels, height, width = x.shape
    outputs = weight.shape[2]
    step = POINTS - kernel + 1  # outputs per tile and direction
    tile_rows, tile_columns = -(-height // step), -(-width // step)
    before = kernel // 2
    x = F.pad(
        x.permute(0, 2, 3, 1),
        (0, 0, before, tile_columns * step + kernel - 1 - before - width)
        + (before, tile_rows * step + kernel - 1 - before - height),
    )  # B x H' x W' x C
    out = x.new_empty(batch, tile_rows, step, tile_columns, step, outputs)
    chunk = max(1, min(tile_rows, CHUNK_BYTES // (4 * POINTS**2 * tile_columns * max(channels, outputs))))
    for item in range(batch):
        for start in range(0, tile_rows, chunk):
            rows = min(chunk, tile_rows - start)
            strip = x[item, start * step : (start + rows - 1) * step + POINTS]  # the input rows of these tile rows
            tiles = _transform_tiles(strip, rows, tile_columns, step)  # 8 x 8 x rows x columns x C
            products = torch.bmm(tiles.view(POINTS**2, -1, channels), weight)
            products = products.view(POINTS, POINTS, rows, tile_columns, outputs)
            _interpolate(products, out[item, start : start + rows], bias)
    out = out.view(batch, tile_rows * step, tile_columns * step, outputs)[:, :height, :width]
    return out.permute(0, 3, 1, 2)


def _transform_tiles(strip: Tensor, rows: int, columns: int, step: int) -> Tensor:
    """Input rows h x W' x C -> the tiles at the 8 x 8 points, 8 x 8 x rows x columns x C.

    First down the columns, for whole image rows: neighbouring tiles overlap, and what they share is computed once.
    """
    width, channels = strip.shape[1:]
    down = strip.new_empty(POINTS, rows, width, channels)
    last = (rows - 1) * step + 1
    _evaluate([strip[i : i + last : step] for i in range(POINTS)], list(down.unbind(0)))
    tiles = strip.new_empty(POINTS, POINTS, rows, columns, channels)
    last = (columns - 1) * step + 1
    _evaluate([down[:, :, j : j + last : step] for j in range(POINTS)], list(tiles.unbind(1)))
    return tiles


def _evaluate(d: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Eight slabs of inputs -> eight slabs at the points: the transposed interpolation, in additions.

    For the points +-a the polynomial without them is (x^2 +- a x) q(x^2), q the product of the other two pairs: one
    half in even, one in odd coefficients, shared by both.
    """
    half, other = torch.empty_like(out[0]), torch.empty_like(out[0])
    for index, a in enumerate(PAIRS):
        b, c = (p * p for p in PAIRS if p != a)  # q = (x^2 - b)(x^2 - c)
        torch.add(d[6], d[2], alpha=b * c, out=half).add_(d[4], alpha=-(b + c))
        torch.add(d[5], d[1], alpha=b * c, out=other).add_(d[3], alpha=-(b + c))
        torch.add(half, other, alpha=a, out=out[1 + 2 * index])
        torch.sub(half, other, alpha=a, out=out[2 + 2 * index])
    # The pairs' squares are 1, 4, 1/4: their product is x^6 - 5.25 x^4 + 5.25 x^2 - 1.
    torch.sub(d[2], d[4], out=half)
    torch.sub(d[6], d[0], out=out[0]).add_(half, alpha=5.25)
    torch.sub(d[3], d[5], out=half)
    torch.sub(d[7], d[1], out=out[7]).add_(half, alpha=5.25)


def _interpolate(products: Tensor, out: Tensor, bias: Tensor | None) -> None:
    """8 x 8 x rows x columns x K at the points -> `out`, rows x step x columns x step x K."""
    rows, step, columns, _, outputs = out.shape
    down = products.new_empty(step, POINTS, rows, columns, outputs)
    _read(list(products.unbind(0)), list(down.unbind(0)))
    by_column = out.permute(3, 1, 0, 2, 4)  # step (across) x step (down) x rows x columns x K
    _read(list(down.unbind(1)), list(by_column.unbind(0)))
    if bias is not None:
        out += bias


def _read(y: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Eight slabs at the points -> the outputs: sums of point ** power, the pairs' even and odd halves shared."""
    sums = [y[1 + 2 * i] + y[2 + 2 * i] for i in range(3)]
    differences = [y[1 + 2 * i] - y[2 + 2 * i] for i in range(3)]
    for power, target in enumerate(out):
        first, second, third = differences if power % 2 else sums
        torch.add(first, second, alpha=PAIRS[1] ** power, out=target).add_(third, alpha=PAIRS[2] ** power)
    out[0].add_(y[0])
    out[-1].add_(y[7])
