"""Properties of the published network beyond the golden numbers."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from libs.device import Precision, autocast
from networks.attention import ReliabilityAttention, blockwise_transfer
from networks.deeplab.aspp import ASPP
from networks.inference import fold_batch_norm, prepare_for_inference
from networks.interface import Propagation
from networks.layers import ConvNorm, conv_part
from networks.local_propagation import LocalPropagation
from networks.network import GISFrame, GISMemory, GISNet, in_portions
from networks.reliability import r_score, score_foreground
from networks.segmentation import SegmentationHead
from tests.fakes import ColourNetwork
from tests.golden import inputs


def image(dx: float = 0.0) -> Tensor:
    return torch.from_numpy(inputs.image("seq", dx=dx))[None]  # 1 x 3 x 96 x 128


def planes(objects: int) -> Tensor:
    return torch.from_numpy(inputs.interaction("seq0", objects))


def one_step(network: GISNet, objects: int) -> tuple[Propagation, GISFrame, GISFrame, GISMemory, Tensor]:
    """Annotate one frame, propagate to another."""
    neighbour, query = network.encode_frame(image()), network.encode_frame(image(5))
    interaction = network.interact(image(), neighbour, planes(objects))
    entry = network.memorise(neighbour, interaction)
    foreground = interaction.foreground
    return network.propagate(query, neighbour, foreground, [entry]), query, neighbour, entry, foreground


def dense_transfer(source: Tensor, target: Tensor, values: Tensor) -> Tensor:
    affinity = torch.softmax(source.transpose(1, 2) @ target, dim=2)  # B x P x Q, normalised over the query
    return values @ affinity


@pytest.mark.parametrize("block_elements", [1, 60, 61, 700, None])
def test_blockwise_attention_is_the_dense_one(block_elements: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    source, target, values = (torch.randn(2, c, p, generator=generator) for c, p in ((8, 50), (8, 30), (5, 50)))
    expected = dense_transfer(source, target, values)
    result = blockwise_transfer(source, target, values, block_elements=block_elements)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    # Everything that leaves the annotated frame arrives: the sum over positions is kept.
    torch.testing.assert_close(result.sum(dim=2), values.sum(dim=2), rtol=1e-4, atol=1e-4)


def test_blockwise_attention_has_the_gradient_of_the_dense_one() -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(1, c, p, generator=generator) for c, p in ((8, 20), (8, 30), (5, 20))]
    gradients = []
    for function in (dense_transfer, lambda *t: blockwise_transfer(*t, block_elements=90)):
        leaves = [t.clone().requires_grad_() for t in tensors]
        function(*leaves).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for dense, blockwise in zip(*gradients):
        torch.testing.assert_close(blockwise, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_attention_under_autocast(precision: Precision) -> None:
    generator = torch.Generator().manual_seed(2)
    source, target, values = (torch.randn(1, c, p, generator=generator) for c, p in ((8, 50), (8, 30), (5, 50)))
    with autocast(source.device, precision):
        result = blockwise_transfer(source, target, values, block_elements=200)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, dense_transfer(source, target, values), rtol=0.1, atol=0.05)


def test_attention_by_hand() -> None:
    """Two positions, two annotated frames, identity projections: every number follows with pen and paper."""
    module = ReliabilityAttention(2, 2)
    keys = torch.zeros(1, 2, 2)  # equal keys: S is 1/2 everywhere
    near, far = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]), torch.tensor([[[4.0, 4.0], [0.0, 0.0]]])
    query_self = torch.tensor([[[2.0, 2.0], [0.0, 0.0]]])
    feature = torch.tensor([6.0, 2.0]).reshape(1, 1, 1, 2)
    out = module(keys, query_self, [(keys, near, feature), (keys, far, 3 * feature)], (1, 2))
    # near: transferred (1 + 3) / 2 = 2, distance 0.1, logit 10; far: 4, distance 2^2 + 0.1, logit 1 / 4.1.
    logits = torch.tensor([10.0, 1 / 4.1])
    weights = torch.softmax(logits, 0)
    torch.testing.assert_close(out.attention[0, :, 0, 0], weights)
    torch.testing.assert_close(out.reliability, torch.ones(1, 1, 1, 2))  # exp(10 / 2 - 5)
    torch.testing.assert_close(out.feature, (weights @ torch.tensor([4.0, 12.0])).expand(1, 1, 1, 2))


def test_conv_part_adds_up() -> None:
    conv, x = nn.Conv2d(6, 4, 3, padding=2, dilation=2), torch.randn(2, 6, 9, 8)
    parts = conv_part(conv, x[:, :4], 0, bias=True) + conv_part(conv, x[:, 4:], 4)
    torch.testing.assert_close(parts, conv(x), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_objects_in_a_batch_are_objects_one_by_one(golden_network: GISNet) -> None:
    together, query, neighbour, entry, foreground = one_step(golden_network, 3)
    for row in range(3):
        alone = golden_network.propagate(query, neighbour, foreground[[row]], [entry.select_objects([row])])
        torch.testing.assert_close(alone.foreground[0], together.foreground[row], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.reliability, together.reliability, rtol=0, atol=1e-6)
        single = golden_network.interact(image(), neighbour, planes(3)[[row]])
        torch.testing.assert_close(single.object_feature[0], entry.object_feature[row], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_a_batch_of_frames_is_frames_one_by_one(golden_network: GISNet) -> None:
    """Two clips with two objects each, as training has them."""
    first, second = torch.cat([image(), image(9)]), torch.cat([image(3), image(14)])
    neighbour, query = golden_network.encode_frame(first), golden_network.encode_frame(second)
    interaction = golden_network.interact(first, neighbour, planes(4))
    entry = golden_network.memorise(neighbour, interaction)
    batch = golden_network.propagate(query, neighbour, interaction.foreground, [entry, entry])
    assert batch.score.shape == (2,) and batch.foreground.shape == (4, 1, 96, 128)
    for b in range(2):
        rows = [2 * b, 2 * b + 1]
        n, q = (golden_network.encode_frame(x[[b]]) for x in (first, second))
        i = golden_network.interact(first[[b]], n, planes(4)[rows])
        e = golden_network.memorise(n, i)
        alone = golden_network.propagate(q, n, i.foreground, [e, e])
        assert alone.score.dim() == 0
        torch.testing.assert_close(alone.foreground, batch.foreground[rows], rtol=0, atol=1e-4)
        torch.testing.assert_close(alone.score, batch.score[b], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_features_hold_what_they_say(golden_network: GISNet) -> None:
    features = golden_network.encode_frame(image())
    assert features.nbytes == 4 * (704 * 12 * 16 + 128 * 24 * 32)
    halves = features.map(lambda t: t.half().float())
    restored = replace(features, **halves.tensors())
    assert set(restored.tensors()) == set(features.tensors())


@torch.inference_mode()
def test_preparing_for_inference_changes_no_mask(golden_network: GISNet) -> None:
    before = one_step(golden_network, 2)[0]
    prepared = prepare_for_inference(copy.deepcopy(golden_network))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in prepared.modules())
    after = one_step(prepared, 2)[0]
    torch.testing.assert_close(after.logits, before.logits, rtol=0, atol=1e-3)  # logits reach 7
    assert ((after.foreground > 0.5) != (before.foreground > 0.5)).float().mean() < 1e-4
    torch.testing.assert_close(after.score, before.score, rtol=0, atol=1e-6)


def test_folding_needs_the_norm_behind_its_own_convolution() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.BatchNorm2d(3), ConvNorm(3, 2, 3)).eval()
    assert fold_batch_norm(module) == 1
    assert isinstance(module[2], nn.BatchNorm2d) and isinstance(module[3].norm, nn.Identity)


@torch.inference_mode()
def test_half_precision_runs_and_stays_near(golden_network: GISNet) -> None:
    full = one_step(golden_network, 2)[0]
    with autocast(image().device, Precision.BFLOAT16):
        low = one_step(golden_network, 2)[0]
    assert low.logits.dtype == low.foreground.dtype == torch.float32
    changed = ((low.foreground > 0.5) != (full.foreground > 0.5)).float().mean()
    assert 0 < (low.logits - full.logits).abs().max()  # it did compute in another precision
    assert changed < 0.05
    assert abs(low.score - full.score) < 0.02


def test_dropout_is_off_at_inference_and_on_in_training() -> None:
    torch.manual_seed(0)
    head, x = SegmentationHead(), torch.randn(1, 256, 8, 8)
    aspp, y = ASPP(8, 4, stride=8), torch.randn(2, 8, 16, 16)
    for module, value in ((head, x), (aspp, y)):
        assert torch.equal(module.eval()(value), module(value))
        assert not torch.equal(module.train()(value), module(value))


def test_gradients_reach_every_weight_of_the_propagation() -> None:
    """Small parts, full path: what training differentiates.  The encoders are plain stacks of layers."""
    torch.manual_seed(0)
    attention, local = ReliabilityAttention(16, 8), LocalPropagation(16, 8)
    r4, mask = torch.randn(2, 16, 4, 6), torch.rand(1, 1, 32, 48)
    keys = attention.keys(r4)
    own = attention.self_transfer(keys)
    feature = torch.randn(1, 5, 4, 6, requires_grad=True)
    memory = [(keys[:1], attention.values(keys[:1]), feature)] * 2
    transfer = attention(keys[1:], own[1:], memory, (4, 6))
    inter, neighbour = local.encode_intersection(r4), local.encode_neighbour(r4)
    out = local(inter[1:], inter[:1], neighbour[:1], mask)
    (transfer.feature.square().sum() + transfer.reliability.sum() + out.square().sum()).backward()
    for module in (attention, local):
        for name, parameter in module.named_parameters():
            if name != "intersection_input.bias":  # two frames are compared, so it cancels
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert feature.grad is not None


def test_whole_network_trains(golden_network: GISNet) -> None:
    network = copy.deepcopy(golden_network).train()
    small = image()[:, :, :64, :64]
    features = network.encode_frame(small)
    interaction = network.interact(small, features, planes(2)[:, :, :64, :64])
    entry = network.memorise(features, interaction)
    out = network.propagate(features, features, interaction.foreground, [entry])
    (out.logits.square().mean() + interaction.mask_logit.square().mean() + out.score).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_score_foreground_by_hand() -> None:
    """Two objects, 2 x 16 pixels, sampled at the left pixel of each half."""
    logits = torch.zeros(1, 2, 2, 8, 16)
    logits[0, 0, 1, 0, 0], logits[0, 1, 1, 0, 0] = -9.0, -9.0  # left: surely background, both
    logits[0, 0, 1, 0, 8] = 9.0  # right: surely the first object
    logits[..., 1:8] = 50.0  # between the samples: never looked at
    assert score_foreground(logits, (1, 2), "over_channels").flatten().tolist() == [0, 1]
    # Over objects the two equal logits are 0.5 each, and 0.5 > 0.4: the published rule calls the background foreground.
    assert score_foreground(logits, (1, 2), "over_objects").flatten().tolist() == [1, 1]
    one = score_foreground(logits[:, :1], (1, 2), "over_objects")
    assert one.flatten().tolist() == [1, 1]  # one object: everything
    three = torch.zeros(1, 3, 2, 8, 8)
    assert score_foreground(three, (1, 1), "over_objects").item() == 0  # 1/3 each


def test_r_score_by_hand() -> None:
    reliability = torch.tensor([[0.2, 0.4], [0.6, 0.8]]).reshape(1, 1, 2, 2)
    foreground = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).reshape(1, 1, 2, 2)
    assert r_score(reliability, foreground).item() == pytest.approx(0.5 * (0.5 + 1.4 / 2.1))
    assert r_score(reliability, 0 * foreground).item() == pytest.approx(0.25)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="over_objects"):
        GISNet(score_foreground="everything")
    with torch.device("meta"):
        network = GISNet(score_foreground="over_channels")
    assert network.config == network.plain_config() == {"score_foreground": "over_channels"}
    network.configure(flex_attention=True)
    assert network.attention.use_flex and network.score_foreground == "over_channels"
    network.configure(score_foreground="over_objects", flex_attention=False)
    assert not network.attention.use_flex and network.config == {"score_foreground": "over_objects"}
    with pytest.raises(ValueError, match="score_foreground"):
        network.configure(score_foreground="everything")


def test_what_a_network_lacks_can_be_asked_for_all_the_same() -> None:
    network = ColourNetwork()
    network.configure(score_foreground="over_channels", flex_attention=True)
    network.use_bfloat16()
    assert not network.in_bfloat16 and network.plain_config() == {}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_portions_of_objects_are_all_objects(size: int) -> None:
    own, shared = torch.randn(5, 2, 3), torch.randn(1, 2, 3)
    sizes = []

    def function(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(x))
        return x + y, x * y

    with torch.inference_mode():
        plus, times = in_portions(function, own, shared, size=size, pixels=100)
    assert torch.equal(plus, own + shared) and torch.equal(times, own * shared)
    assert max(sizes) == size and sum(sizes) == 5
