"""The compact network: its limits, its parts against plain computations, its symmetries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact import CompactConfig, CompactGIS
from networks.compact.backbone import (
    BATCH_NORM_EPSILON,
    EfficientNetLite0,
    SameConv,
    fold_batch_norm,
    load_pretrained,
    pad_same,
)
from networks.compact.encoder import CompactFeatures
from networks.compact.extent import ObjectExtent
from networks.compact.interaction import InteractionBranch
from networks.compact.layers import Decoder, cells, evidence, halved, others, upsample
from networks.compact.matching import (
    OUTSIDE,
    FlowRefinement,
    GlobalTransfer,
    LocalTransfer,
    affinity,
    clamped,
    largest,
    rows,
    transfer,
    warp,
)
from networks.compact.network import SECOND_LOOKS, Look
from networks.compact.propagation import NEIGHBOUR_SHARE, CompactPropagation
from networks.compact.quality import THICKNESS, QualityHead, thickness
from networks.interface import FrameFeatures


@pytest.fixture(scope="module")
def network() -> CompactGIS:
    torch.manual_seed(0)
    return CompactGIS().eval()


def planes(count: int) -> Tensor:
    values = torch.zeros(count, 3, 64, 96)
    values[:, 0] = 0.5
    for row in range(count):
        values[row, 1, 10 + 12 * row : 16 + 12 * row, 20:60] = 1
    return values


@torch.no_grad()
def one_step(network: CompactGIS, given: Tensor) -> CompactPropagation:
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 96)
    neighbour, query = network.encode_frames(images)
    interaction = network.interact(images[:1], neighbour, given)
    return network.propagate(query, neighbour, interaction.foreground, [network.memorise(neighbour, interaction)] * 2)


def test_size_limits(network: CompactGIS) -> None:
    count = sum(p.numel() for p in network.parameters())
    assert count <= 8_000_000 and 2 * count <= 16_000_000  # fp16 bytes


def test_shapes_and_ranges(network: CompactGIS) -> None:
    output = one_step(network, planes(3))
    assert output.foreground.shape == (3, 1, 64, 96)
    assert output.reliability.shape == (1, 1, 8, 12)
    assert output.score.shape == () and 0 < float(output.score) < 1
    assert 0 <= float(output.reliability.min()) and float(output.reliability.max()) <= 1
    assert output.quality_logit.shape == (3,) and output.frame_masks.shape == (2, 3, 1, 16, 24)


def test_the_order_of_the_objects_does_not_matter(network: CompactGIS) -> None:
    order = [2, 0, 1]
    plain, turned = one_step(network, planes(3)), one_step(network, planes(3)[order])
    assert torch.allclose(plain.foreground[order], turned.foreground, atol=1e-4)
    assert torch.allclose(plain.score, turned.score, atol=1e-4)


def test_frames_encoded_together_or_one_by_one_are_the_same(network: CompactGIS) -> None:
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        together, alone = network.encode_frames(images), [network.encode_frame(i[None]) for i in images]
    for a, b in zip(together, alone):
        for name, tensor in a.tensors().items():
            assert tensor.shape[0] == 1
            assert torch.allclose(tensor, b.tensors()[name], atol=1e-3), name


def test_the_extent_of_objects_corrects_the_mask_and_leaves_the_memory_alone(network: CompactGIS) -> None:
    torch.manual_seed(4)
    features, given = network.encode_frame(torch.randn(1, 3, 64, 96)), planes(2)
    branch = InteractionBranch(network.config).eval()
    with torch.no_grad():
        before = branch(features, given)
        nn.init.normal_(branch.extent.out.weight, std=0.1)
        after = branch(features, given)
    assert not torch.equal(before.mask_logit, after.mask_logit)
    assert torch.equal(before.object_feature, after.object_feature)


def test_the_extent_of_objects_begins_as_nothing_and_sees_the_whole_frame() -> None:
    torch.manual_seed(5)
    extent = ObjectExtent(CompactConfig())
    trunk, planes, similar = torch.randn(2, 64, 16, 24), torch.rand(2, 3, 16, 24), torch.randn(2, 8, 16, 24)
    deep16, deep32 = torch.randn(1, 112, 8, 12), torch.randn(1, 192, 4, 6)
    with torch.no_grad():
        assert not extent(deep16, deep32, trunk, planes, similar).any()
        nn.init.normal_(extent.out.weight)
        nn.init.normal_(extent.blocks[0].all_out.weight)
        first = extent(deep16, deep32, trunk, planes, similar)
        assert first.shape == trunk.shape
        deep16[..., -1, -1] += 3
        moved = (extent(deep16, deep32, trunk, planes, similar) - first).abs()
    assert moved[..., 0, 0].max() > 1e-4


def test_a_negative_stroke_alone_does_not_change_the_evidence_for_the_others(network: CompactGIS) -> None:
    """Another object's positive stroke is a negative one for this object; its own planes stay its own."""
    given = planes(2)
    image = torch.randn(1, 3, 64, 96)
    features = network.encode_frame(image)
    with torch.no_grad():
        alone = network.interact(image, features, given[:1]).mask_logit
        both = network.interact(image, features, given).mask_logit[:1]
        told = given[:1].clone()
        told[:, 2] = given[1:, 1]
        negative = network.interact(image, features, told).mask_logit
    assert not torch.allclose(alone, both, atol=1e-4)
    assert torch.allclose(both, negative, atol=1e-4)


@torch.no_grad()
def test_of_very_many_stroked_cells_a_share_stands_for_all(
    network: CompactGIS, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    features = network.encode_frame(torch.randn(1, 3, 64, 96))
    given = torch.zeros(1, 3, 64, 96)
    given[:, 1] = 1  # all of the 8 x 12 cells
    all_of_them = network.interaction._similarity(features, given)
    compared = []

    def counted(query: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
        compared.append(len(key))
        return affinity(query, key, temperature)

    monkeypatch.setattr("networks.compact.interaction.affinity", counted)
    monkeypatch.setattr("networks.compact.interaction.MOST_STROKED", 50)
    some = network.interaction._similarity(features, given)
    assert compared == [48]
    torch.testing.assert_close(some, all_of_them, atol=0.2, rtol=0)


def test_in_use_the_annotated_frame_is_looked_at_again(network: CompactGIS) -> None:
    image = torch.randn(1, 3, 64, 96)
    given = planes(2)
    with torch.no_grad():
        features = network.encode_frame(image)
        plain = network.interaction(features, given).mask_logit
        looks = [network._look(image, given, look) for look in SECOND_LOOKS]
        assert torch.allclose(network._look(image, given, Look(1, False)), plain, atol=1e-4)
        mirrored = network.interaction(network.encode_frame(image.flip(-1)), given.flip(-1)).mask_logit.flip(-1)
        assert torch.allclose(network._look(image, given, Look(1, True)), mirrored, atol=1e-4)
        used = network.interact(image, features, given)
        assert torch.allclose(used.mask_logit, torch.stack([plain, *looks]).mean(0), atol=1e-5)
        trained = network.train().interact(image, features, given)
    network.eval()
    assert torch.allclose(trained.mask_logit, plain, atol=1e-5)
    assert torch.equal(trained.object_feature, used.object_feature)


def test_memory_of_one_object_alone(network: CompactGIS) -> None:
    image = torch.randn(1, 3, 64, 96)
    features = network.encode_frame(image)
    with torch.no_grad():
        entry = network.memorise(features, network.interact(image, features, planes(3)))
    part = entry.select_objects([2])
    assert torch.equal(part.mask, entry.mask[2:]) and part.key is entry.key


def test_two_objects_that_claim_the_same_pixels_share_them_in_the_memory(network: CompactGIS) -> None:
    image = torch.randn(1, 3, 64, 96)
    features = network.encode_frame(image)
    with torch.no_grad():
        interaction = network.interact(image, features, planes(2))
        both = replace(interaction, mask_logit=torch.full_like(interaction.mask_logit, 10))
        mask = network.memorise(features, both).mask
    assert mask.sum(dim=0).max() <= 1 + 1e-5 and mask.min() > 0.4


def test_the_configuration_decides_the_sizes() -> None:
    small = CompactGIS(CompactConfig(window=3, key_channels=16))
    assert one_step(small.eval(), planes(1)).foreground.shape == (1, 1, 64, 96)
    assert small.encoder.key.out_channels == 16


# ---- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "before", "after"), [(8, 3, 0, 1), (7, 3, 1, 1), (8, 5, 1, 2), (9, 5, 2, 2)]
)
def test_same_padding_depends_on_the_size(size: int, kernel: int, before: int, after: int) -> None:
    row = pad_same(torch.ones(1, 1, size, size), kernel, 2)[0, 0, before]
    assert row.tolist() == [0] * before + [1] * size + [0] * after


def test_folding_equals_convolution_and_batch_norm() -> None:
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=BATCH_NORM_EPSILON).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        tensor.data.normal_()
    norm.running_var.uniform_(0.5, 2)
    weight, bias = fold_batch_norm(convolution.weight, norm.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(F.conv2d(x, weight, bias), norm(convolution(x)), atol=1e-5)


def test_pretrained_weights_go_to_the_layer_of_their_name() -> None:
    backbone = EfficientNetLite0()
    weights = pretrained_like(backbone)
    load_pretrained(backbone, weights)
    name = "_blocks.3._depthwise_conv.weight"
    scale = (1 + BATCH_NORM_EPSILON) ** -0.5
    assert torch.allclose(backbone.blocks[3].depthwise.weight, weights[name] * scale)
    del weights[name]
    with pytest.raises(KeyError):
        load_pretrained(backbone, weights)


def pretrained_like(backbone: EfficientNetLite0) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}

    def add(layer: SameConv, conv: str, norm: str) -> None:
        count = layer.out_channels
        weights[f"{conv}.weight"] = torch.randn_like(layer.weight)
        for key, value in (("weight", 1.0), ("bias", 0.5), ("running_mean", 0.0), ("running_var", 1.0)):
            weights[f"{norm}.{key}"] = torch.full((count,), value)

    add(backbone.stem, "_conv_stem", "_bn0")
    for i, block in enumerate(backbone.blocks):
        if block.expand is not None:
            add(block.expand, f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        add(block.depthwise, f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        add(block.project, f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    return weights


def test_others_is_the_strongest_rival() -> None:
    mask = torch.tensor([0.1, 0.7, 0.4]).view(3, 1, 1, 1)
    assert others(mask).flatten().tolist() == pytest.approx([0.7, 0.4, 0.7])
    assert others(mask[:1]).item() == 0


@pytest.mark.parametrize("shape", [(1, 3, 20, 36), (3, 1, 8, 6)])
def test_halving_has_the_bits_of_average_pooling(shape: tuple[int, ...]) -> None:
    x = 100 * torch.randn(shape)
    with torch.inference_mode():
        found = halved(x)
    assert torch.equal(found, F.avg_pool2d(x, 2))
    leaf = x.clone().requires_grad_()
    halved(leaf).sum().backward()
    assert torch.equal(leaf.grad, torch.full(shape, 0.25))


def test_cells_are_the_quarters() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4, 4:] = 1
    assert cells(mask).flatten().tolist() == [0, 1, 0, 0]


def features_like(height: int, width: int, config: CompactConfig) -> CompactFeatures:
    def random(channels: int, scale: int = 1) -> Tensor:
        return torch.randn(1, channels, height * scale, width * scale)

    return CompactFeatures(
        colour=random(3, 4),
        skip2=random(config.skip2_channels, 4),
        skip4=random(config.skip4_channels, 2),
        detail=random(config.detail_channels, 2),
        fine_key=F.normalize(random(config.fine_key_channels, 2), dim=1),
        context=random(config.context_channels),
        query=random(config.trunk_channels),
        key=F.normalize(random(config.key_channels + config.local_channels), dim=1),
        value=random(config.value_channels),
        deep16=F.interpolate(random(112), scale_factor=1 / 2),
        deep32=F.interpolate(random(192), scale_factor=1 / 4),
    )


def test_global_transfer_is_a_softmax_over_annotated_positions(network: CompactGIS) -> None:
    torch.manual_seed(2)
    transfer = GlobalTransfer(network.config)
    query, annotated = (features_like(4, 6, network.config) for _ in range(2))
    with torch.no_grad():
        entry = network.memoriser(annotated, torch.randn(2, 24, 4, 6), torch.rand(2, 1, 32, 48))
        transfer.balance.zero_()
        plain = transfer(query, [entry])
        similarity = 40 * rows(query.key) @ rows(annotated.key).t()  # P x P'
        expected = torch.softmax(similarity, 1) @ rows(entry.mask)  # P x (O * 4)
    assert torch.allclose(rows(plain.mask), expected.clamp(0.002, 0.998), atol=1e-5)
    assert torch.allclose(plain.evidence[0, 1].flatten(), torch.logsumexp(similarity - 40, 1), atol=1e-4)


@pytest.mark.parametrize("sharpness", [5.0, 40.0, 64.0])
def test_transfer_in_bfloat16_is_a_percent_off(sharpness: float) -> None:
    torch.manual_seed(2)
    annotated = F.normalize(torch.randn(700, 96), dim=1)
    query = F.normalize(annotated[torch.randint(700, (900,))] + 0.1 * torch.randn(900, 96), dim=1)
    columns = torch.cat([torch.rand(700, 20), torch.ones(700, 1)], 1)
    temperature = torch.tensor(sharpness)
    with torch.no_grad():
        exact, best = transfer(query, annotated, columns, temperature)
        found, found_best = transfer(query, annotated, columns, temperature, bfloat16=True)
    assert found.dtype == found_best.dtype == torch.float32
    torch.testing.assert_close(found[:, :-1] / found[:, -1:], exact[:, :-1] / exact[:, -1:], rtol=0.03, atol=0.01)
    for x, y in ((found[:, -1], exact[:, -1]), (found_best, best)):  # their logarithms are what is used
        torch.testing.assert_close(x.log(), y.log(), rtol=0, atol=0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_of_each_row_is_found_by_its_bits(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    matrix = (40 * torch.randn(50, 300)).exp2().to(dtype)  # from 0 to infinity, as affinities are
    matrix[0] = 0
    assert torch.equal(largest(matrix), matrix.amax(1))


@pytest.mark.parametrize("width", [26, 27])
@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (3, 2, 16), (5, 2, 16), (3, 1, 16)])
def test_a_bounded_convolution_has_the_same_bits(kernel: int, stride: int, groups: int, width: int) -> None:
    torch.manual_seed(4)
    layer = SameConv(16, 32, kernel, stride=stride, groups=groups).bfloat16().requires_grad_(False)
    x = (8 * torch.randn(1, 16, 20, width)).bfloat16().contiguous(memory_format=torch.channels_last)
    plain = F.relu6(layer(x))
    assert 0.1 < (plain == 0).float().mean() < 0.9 and (plain == 6).any()
    with torch.inference_mode():
        assert torch.equal(layer.bounded(x), plain)


def test_a_network_in_bfloat16_says_the_same() -> None:
    torch.manual_seed(0)
    network = CompactGIS().eval()
    exact = one_step(network, planes(2))
    assert not network.in_bfloat16
    network.use_bfloat16()
    found = one_step(network, planes(2))
    assert network.in_bfloat16 and found.foreground.dtype == torch.float32
    assert (found.foreground - exact.foreground).abs().mean() < 0.01
    assert abs(found.score - exact.score) < 0.02
    for name, tensor in network.encode_frame(torch.randn(1, 3, 64, 96)).tensors().items():
        assert tensor.dtype == torch.float32, name


def test_a_small_object_is_not_outvoted_by_the_background() -> None:
    transfer = GlobalTransfer(CompactConfig())
    annotated = torch.zeros(2, 4, 10, 10)
    annotated[0, :, 0, :4] = 1  # 4 % of the frame
    annotated[1, :, :5] = 1  # half of it
    vague = torch.full((2, 4, 10, 10), 0.3)
    with torch.no_grad():
        small, half = transfer._balanced(vague, annotated)
    # The square root of (0.96 + 0.01) / (0.04 + 0.01) = 19.4 is 4.4: the odds .3 / .7 become 1.89.
    assert torch.allclose(small, torch.tensor(0.6537), atol=1e-3)
    assert torch.allclose(half, torch.tensor(0.3), atol=1e-6)


def test_a_better_match_weighs_more_among_the_annotated_frames(network: CompactGIS) -> None:
    torch.manual_seed(2)
    transfer = GlobalTransfer(network.config)
    query, stranger = (features_like(4, 6, network.config) for _ in range(2))
    with torch.no_grad():
        same = network.memoriser(query, torch.randn(1, 24, 4, 6), torch.ones(1, 1, 32, 48))
        other = network.memoriser(stranger, torch.randn(1, 24, 4, 6), torch.zeros(1, 1, 32, 48))
        mask = transfer(query, [other, same]).mask
    assert float(mask.mean()) > 0.8


def test_local_transfer_sees_its_window_only(network: CompactGIS) -> None:
    torch.manual_seed(3)
    transfer = LocalTransfer(replace(network.config, window=2))
    query, neighbour = (features_like(8, 6, network.config) for _ in range(2))
    mask = torch.rand(2, 4, 8, 6)
    with torch.no_grad():
        found = transfer(query, neighbour, mask)
        similarity = 40 * rows(query.key) @ rows(neighbour.key).t()  # P x P
        y, x = torch.arange(48) // 6, torch.arange(48) % 6
        dy, dx = y[None] - y[:, None], x[None] - x[:, None]
        bias = torch.where((dy.abs() <= 2) & (dx.abs() <= 2), -0.1 * (dy**2 + dx**2), torch.tensor(OUTSIDE))
        weight = torch.softmax(similarity + bias, 1)
    assert torch.allclose(rows(found.mask), weight @ rows(mask), atol=1e-5)
    assert torch.allclose(found.flow[0, 0].flatten(), (weight * dx).sum(1), atol=1e-4)
    assert torch.allclose(found.flow[0, 1].flatten(), (weight * dy).sum(1), atol=1e-4)


def test_a_clamped_grid_needs_no_padding_by_the_border() -> None:
    torch.manual_seed(0)
    picture, grid = torch.randn(1, 3, 7, 10), 1.5 * torch.randn(1, 20, 20, 2)
    bordered = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    clamped_ = F.grid_sample(picture, clamped(grid, 7, 10), padding_mode="zeros", align_corners=False)
    assert torch.allclose(clamped_, bordered, atol=1e-5)


def test_warp_moves_by_whole_cells() -> None:
    picture = torch.arange(8 * 12).float().view(1, 1, 8, 12)
    flow = torch.zeros(1, 2, 2, 3)
    assert torch.allclose(warp(picture, flow), picture, atol=1e-3)
    flow[:, 0] = 0.5  # half a cell of 4 pixels: 2 pixels to the right
    assert torch.allclose(warp(picture, flow)[..., :-2], picture[..., 2:], atol=1e-3)


def test_refined_motion_is_that_of_the_fine_keys() -> None:
    torch.manual_seed(3)
    refinement = FlowRefinement(2, sharpness=1.0, slope=0.4)
    neighbour = F.normalize(torch.randn(1, 16, 16, 24), dim=1)
    query = neighbour.roll((1, -2), (2, 3))  # the query's (y, x) was the neighbour's (y - 1, x + 2)
    coarse = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 8, 12)  # in cells twice as large: half of the way
    with torch.no_grad():
        refinement.log_sharpness.fill_(5.0)
        inside = refinement(query, neighbour, coarse)[0, :, 4:-4, 4:-4]
        refinement.log_sharpness.fill_(-20.0)  # the keys say nothing: the offset stays, and is told in the finer cells
        unchanged = refinement(query, neighbour, coarse)
    assert torch.allclose(inside[0], torch.tensor(2.0), atol=0.02) and torch.allclose(
        inside[1], torch.tensor(-1.0), atol=0.02
    )
    assert torch.allclose(unchanged, torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 16, 24), atol=1e-5)


def test_refined_motion_reaches_no_further_than_its_window() -> None:
    torch.manual_seed(4)
    refinement = FlowRefinement(2, sharpness=1.0, slope=0.4)
    query, neighbour = (F.normalize(torch.randn(1, 16, 16, 24), dim=1) for _ in range(2))
    with torch.no_grad():
        refinement.log_sharpness.fill_(5.0)
        refined = refinement(query, neighbour, torch.zeros(1, 2, 8, 12))
    assert refined.abs().max() <= 2 and refined.abs().max() > 1


def test_the_decoder_draws_what_is_shared_once_and_trusts_where_it_learned_to() -> None:
    torch.manual_seed(5)
    decoder = Decoder(64, coarse=3, fine=1, skip4=32, skip2=8, coarse_priors=2, fine_priors=1, picture=6)
    trunk, skips = torch.randn(2, 64, 4, 6), (torch.rand(1, 32, 8, 12), torch.rand(1, 8, 16, 24))
    coarse, fine = torch.rand(2, 3, 8, 12), torch.rand(2, 1, 16, 24)
    priors, picture = (torch.randn(2, 2, 8, 12), torch.randn(2, 1, 16, 24)), torch.randn(1, 6, 16, 24)
    with torch.no_grad():
        before = decoder(trunk, skips, coarse, fine, priors, picture=picture)
        assert torch.equal(
            before, decoder(trunk, skips, coarse, fine, priors, picture=torch.zeros_like(picture))
        )  # starts as 0
        decoder.trust.bias.fill_(2.0)
        trusting = decoder(trunk, skips, coarse, fine, priors, picture=picture)
        torch.nn.init.normal_(decoder.edge_change.weight, std=0.1)
        both = decoder(trunk, skips, coarse, fine, priors, picture=picture)
        one = decoder(trunk[1:], skips, coarse[1:], fine[1:], tuple(p[1:] for p in priors), picture=picture)
    expected = before + F.interpolate(2 * priors[1], scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(trusting, expected, atol=1e-5)
    assert not torch.allclose(both, trusting, atol=1e-3)
    assert torch.allclose(both[1:], one, atol=1e-5)


def test_features_are_a_tensor_group(network: CompactGIS) -> None:
    image = torch.randn(1, 3, 64, 96)
    features = network.encode_frame(image)
    assert isinstance(features, FrameFeatures)
    half = features.map(Tensor.half)
    assert half.nbytes * 2 == features.nbytes
    with torch.no_grad():  # cached features may be kept in half precision
        output = network.interact(image, half.map(Tensor.float), planes(1))
    assert torch.isfinite(output.mask_logit).all()


@torch.no_grad()
def test_a_passed_frame_is_read_like_an_annotated_one_but_counts_less(network: CompactGIS) -> None:
    torch.manual_seed(3)
    images = torch.randn(2, 3, 64, 96)
    first, second = network.encode_frames(images)
    interaction = network.interact(images[:1], first, planes(2))
    entry = network.memorise(first, interaction)
    output = network.propagate(second, first, interaction.foreground, [entry])
    passed = network.remember(second, output, output.foreground)
    assert passed.object_value.shape == entry.object_value.shape and passed.mask.shape == entry.mask.shape
    assert passed.confidence.shape == (1, 1, 8, 12)
    # A frame resembles itself the most, so what was said of it comes back, the less the less it counts.
    transfer = network.propagation.global_transfer
    shares = []
    for factor in (1.0, 1e-6):
        both = transfer(second, [entry, replace(passed, confidence=passed.confidence * factor)])
        own = transfer(second, [passed]).mask
        shares.append((both.mask - own).abs().mean())
    assert shares[0] < shares[1]
    torch.testing.assert_close(both.mask, transfer(second, [entry]).mask, atol=1e-2, rtol=0)


def test_gradients_reach_what_a_passed_frame_leaves_behind() -> None:
    torch.manual_seed(4)
    network = CompactGIS()
    images = torch.randn(2, 3, 64, 96)
    first, second = network.encode_frames(images)
    interaction = network.interact(images[:1], first, planes(1))
    entry = network.memorise(first, interaction)
    output = network.propagate(second, first, interaction.foreground.detach(), [entry])
    passed = network.remember(second, output, output.foreground)
    assert not passed.mask.requires_grad, "masks are carried on without gradients, as everywhere between frames"
    network.propagate(second, second, output.foreground.detach(), [entry, passed]).foreground.sum().backward()
    assert network.propagation.feature.weight.grad.abs().sum() > 0
    assert network.propagation.global_transfer.passed_weight.grad is not None


@torch.no_grad()
def test_what_was_read_before_takes_the_annotated_frames_place(network: CompactGIS) -> None:
    torch.manual_seed(5)
    images = torch.randn(3, 3, 64, 96)
    first, second, query = network.encode_frames(images)
    entries, masks = [], torch.rand(3, 1, 64, 96)
    for image, features in zip(images, (first, second), strict=False):
        entries.append(network.memorise(features, network.interact(image[None], features, planes(3))))
    readings = [network.read(query, entry) for entry in entries]
    anew = network.propagate(query, second, masks, entries)
    kept = network.propagate(query, second, masks, [readings[0], entries[1]])
    torch.testing.assert_close(kept.foreground, anew.foreground)
    torch.testing.assert_close(kept.score, anew.score)
    two = network.propagate(query, second, masks[[2, 0]], [r.select_objects([2, 0]) for r in readings])
    both = network.propagate(query, second, masks[[2, 0]], [e.select_objects([2, 0]) for e in entries])
    torch.testing.assert_close(two.foreground, both.foreground)
    held = sum(t.untyped_storage().nbytes() for t in readings[0].tensors().values())
    assert held <= 1.3 * readings[0].nbytes, "a reading must not keep what it was cut from"


@torch.no_grad()
def test_the_score_is_the_mean_of_the_objects_predicted_j_less_where_they_are_thin() -> None:
    torch.manual_seed(6)
    head = QualityHead(8)
    trunk, carried, warped = torch.zeros(2, 8, 8, 8), torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 16, 16)
    evidence, strength = torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 8, 8)
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, :32], masks[1, :, 32:] = 0.99, 0.99
    head.frame[-1].weight.fill_(0.3)
    trunk[1] = torch.randn(8, 8, 8)  # so that the two objects are not judged alike
    both = head(trunk, masks, carried, warped, evidence, strength)
    assert abs(float(both.quality_logit[0] - both.quality_logit[1])) > 0.01
    first, second = torch.sigmoid(both.quality_logit + THICKNESS * thickness(masks)).tolist()
    assert float(both.score) == pytest.approx((first + second) / 2, abs=1e-6)
    # Cells taken for wrong lower it, before anything is trained: the count of cells is the first judgement.
    head.correct.bias.fill_(-2.0)
    assert head(trunk, masks, carried, warped, evidence, strength).score < both.score - 0.2


def test_thickness_is_area_over_border() -> None:
    masks = torch.zeros(5, 1, 96, 128)
    masks[0, :, 16:48, 16:48] = 0.9  # 32 pixels wide: 8 for every pixel of its border
    masks[1, :, 16:80, 16:80] = 0.9
    masks[2, :, 16:48:4, 16:48] = masks[2, :, 17:48:4, 16:48] = 0.9  # stripes
    masks[3] = 0.4  # gone
    masks[4, :, :, :64] = 0.9  # where the picture ends there is no border to be wrong about
    square, twice, stripes, gone, half = thickness(masks).tolist()
    assert square == 0 and gone == 0
    assert twice == pytest.approx(math.log(2), abs=0.05)
    assert stripes < -1
    assert half == pytest.approx(math.log(64 / 8), abs=0.1)


@torch.no_grad()
def test_with_several_annotated_frames_the_neighbours_mask_has_a_share(network: CompactGIS) -> None:
    torch.manual_seed(6)
    images = torch.randn(2, 3, 64, 96)
    neighbour, query = network.encode_frames(images)
    entry = network.memorise(neighbour, network.interact(images[:1], neighbour, planes(2)))
    masks = torch.rand(2, 1, 64, 96).round()

    def propagate(memory: list, *, training: bool = False) -> CompactPropagation:
        network.train(training)
        try:
            return network.propagate(query, neighbour, masks, memory)
        finally:
            network.eval()

    # Two equal entries say what one says, so all that differs is the share.
    one, two = propagate([entry]), propagate([entry, entry])
    carried = evidence(upsample(two.warped, 2))
    nearer = (two.logits - carried).abs().mean() / (one.logits - carried).abs().mean()
    assert 1 - NEIGHBOUR_SHARE - 0.05 < nearer < 1 - NEIGHBOUR_SHARE / 2
    torch.testing.assert_close(two.foreground, torch.sigmoid(two.logits))
    torch.testing.assert_close(two.score, one.score, msg="the R-score judges what the network made itself")
    passed = network.remember(query, one, one.foreground)
    torch.testing.assert_close(
        propagate([entry, passed]).logits, propagate([entry, passed], training=True).logits, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(propagate([entry, entry], training=True).logits, one.logits, atol=1e-4, rtol=1e-4)
