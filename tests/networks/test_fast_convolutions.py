"""The fast convolutions give what the plain ones give, and step aside where they cannot."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks import winograd
from networks.inference import PointwiseConv2d, prepare_for_inference, use_fast_convolutions
from networks.interface import GuidedNetwork
from networks.layers import ConvNorm, conv_part
from networks.winograd import WinogradConv2d, transform_weight, winograd_convolution


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (1, 1), (2, 31), (29, 7), (13, 25)])
def test_equals_the_direct_sum_at_every_size(kernel: int, height: int, width: int) -> None:
    x, weight, bias = random(2, 3, height, width).double(), random(4, 3, kernel, kernel).double(), random(4).double()
    expected = F.conv2d(x, weight, bias, padding=kernel // 2)
    result = winograd_convolution(x, transform_weight(weight), bias, kernel)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)  # float64: the method itself is exact


@pytest.mark.parametrize("kernel", [3, 5])
def test_rounding_in_float32_is_small(kernel: int) -> None:
    x = torch.relu(random(1, 128, 40, 40)).contiguous(memory_format=torch.channels_last)
    weight = random(64, 128, kernel, kernel) * (2 / (128 * kernel**2)) ** 0.5  # outputs of size 1
    exact = F.conv2d(x.double(), weight.double(), padding=kernel // 2)
    error = winograd_convolution(x, transform_weight(weight), None, kernel) - exact
    assert error.square().mean().sqrt() < 1e-5
    assert error.abs().max() < 2e-4


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    # In double precision: matrix products of another shape round otherwise, on some CPUs by 1e-4 after the transforms.
    x, weight = random(1, 8, 50, 20).double(), transform_weight(random(8, 8, 3, 3)).double()
    whole = winograd_convolution(x, weight, None, 3)
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 1)  # one row of tiles at a time
    torch.testing.assert_close(winograd_convolution(x, weight, None, 3), whole, rtol=0, atol=1e-9)


def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kernel sizes of the convolutions that went the short way."""
    calls: list[int] = []

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: int) -> Tensor:
        calls.append(kernel)
        return winograd_convolution(x, weight, bias, kernel)

    monkeypatch.setattr(winograd, "winograd_convolution", spy)
    return calls


def test_module_takes_the_short_way_only_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = taken(monkeypatch)
    conv = nn.Conv2d(64, 64, 3, padding=1)
    fast, x = WinogradConv2d.of(conv), random(1, 64, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), conv(x), rtol=1e-3, atol=1e-4)
        assert calls == [3]
        fast(x[:, :, :8])  # too small a map
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert fast(x).dtype == torch.bfloat16
        torch.testing.assert_close(fast.double()(x.double()), conv.double()(x.double()))
    fast.float()(x).sum().backward()
    assert conv.weight is fast.weight and fast.weight.grad is not None
    assert calls == [3]


def test_parts_and_changed_weights() -> None:
    conv = nn.Conv2d(128, 64, 5, padding=2)
    fast, x = WinogradConv2d.of(conv), random(1, 128, 32, 32)
    with torch.no_grad():
        for _ in range(2):  # the second time with another weight: what was transformed before is stale
            parts = conv_part(fast, x[:, :64], 0) + conv_part(fast, x[:, 64:], 64, bias=True)
            torch.testing.assert_close(parts, conv(x), rtol=1e-3, atol=1e-4)
            conv.weight.mul_(-0.5)
    kept = [t.numel() for _, t in fast._transformed.values()]
    assert kept == [64 * 64 * 64, 64 * 64 * 64]


@pytest.mark.parametrize(
    ("conv", "suits"),
    [
        (nn.Conv2d(64, 64, 3, padding=1), True),
        (nn.Conv2d(64, 96, 5, padding=2, bias=False), True),
        (nn.Conv2d(64, 64, 3, padding=2, dilation=2), False),
        (nn.Conv2d(64, 64, 3, padding=1, stride=2), False),
        (nn.Conv2d(64, 64, 3), False),
        (nn.Conv2d(64, 64, 3, padding=1, groups=2), False),
        (nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"), False),
        (nn.Conv2d(32, 64, 3, padding=1), False),
        (nn.Conv2d(64, 64, 7, padding=3), False),
        (nn.ConvTranspose2d(64, 64, 3, padding=1), False),
    ],
)
def test_what_suits(conv: nn.Module, suits: bool) -> None:
    assert WinogradConv2d.suits(conv) is suits


class Net(GuidedNetwork):
    """Only its layers count here."""

    encode_frame = interact = memorise = propagate = None

    def __init__(self) -> None:
        super().__init__()
        self.frame_encoder = nn.Sequential(ConvNorm(3, 64, 3), ConvNorm(64, 64, 3), ConvNorm(64, 64, 1))
        self.interaction = ConvNorm(64, 64, 3)
        self.head = nn.Sequential(ConvNorm(64, 64, 5), nn.Conv2d(64, 4, 1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.interaction(self.frame_encoder(x)))


def test_prepared_network_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Net()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # not the identity that it starts as
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    calls = taken(monkeypatch)
    prepared = prepare_for_inference(copy.deepcopy(network))
    assert type(prepared.frame_encoder[1].conv) is nn.Conv2d  # the encoder keeps the direct sum
    assert isinstance(prepared.frame_encoder[2].conv, PointwiseConv2d)
    assert prepared.head[0].conv.keep and not prepared.interaction.conv.keep
    x, small = random(1, 3, 64, 65), random(1, 3, 33, 40)
    with torch.inference_mode():
        torch.testing.assert_close(prepared(x), network.eval()(x), rtol=1e-3, atol=1e-4)
        assert calls == [3, 5]
        torch.testing.assert_close(prepared(small), network(small), rtol=1e-3, atol=1e-4)
        assert calls == [3, 5, 5]  # too small for weights that are transformed for one call
        assert prepared.interaction.conv._transformed == {}
    assert use_fast_convolutions(prepared) == 0  # done already


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolution(stride: int) -> None:
    conv = nn.Conv2d(8, 6, 1, stride=stride)
    fast, x = PointwiseConv2d.of(conv), random(2, 8, 9, 10).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        out = fast(x)
        torch.testing.assert_close(out, conv(x))
        assert out.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(fast(x[:, :, :1, :1]), conv(x[:, :, :1, :1]))
    fast(x).sum().backward()
    assert fast.weight.grad is not None
