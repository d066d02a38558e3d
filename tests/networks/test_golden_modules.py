"""The published network module by module against the golden numbers (inputs as tests/data/golden says)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from libs.ranges import select_memory
from networks.interface import aggregate
from networks.network import GISFrame, GISMemory, GISNet
from networks.reliability import score_foreground
from tests import golden
from tests.golden import check, inputs

H, W = 12, 16  # the grid at 1/8

# Frames annotated, in order of annotation, and the query frame; at most three of them take part.
TRANSFERS = {
    "N1": ([7], 9, 3),
    "N2": ([7, 2], 9, 3),
    "N3": ([7, 2, 12], 9, 3),
    "N4": ([10, 3, 25, 17], 20, 3),
    "N5": ([10, 3, 25, 17, 21], 20, 3),
    "N5none": ([10, 3, 25, 17, 21], 20, 0),
    "N5tie": ([4, 8, 2, 8, 6], 5, 3),
}
PROPAGATIONS = [(1, 1), (1, 3), (2, 2), (3, 1), (3, 2), (3, 5)]  # objects, annotated frames
PROPAGATION_FRAMES, PROPAGATION_QUERY = [10, 3, 25, 17, 21], 20


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def tensor(array: object) -> Tensor:
    return torch.as_tensor(array)


def r4(name: str, mix: float = 0.0) -> Tensor:
    return tensor(inputs.r4(name, mix=mix))[None]


def image(name: str, **shift: float) -> Tensor:
    return tensor(inputs.image(name, **shift))[None]


def test_input_recipe() -> None:
    check_in = {
        "in.image_a": inputs.image("a"),
        "in.image_b": inputs.image("b"),
        "in.interaction_x": inputs.interaction("x", 2),
        "in.blob_nei": inputs.blob("nei", 2),
        "in.r4_q_strided97": inputs.r4("q").ravel()[::97],
    }
    for name, array in check_in.items():
        assert (golden.stored(name) == array).all(), name


def test_weights_are_the_golden_ones(golden_checkpoint: Path) -> None:
    digest = hashlib.sha256()
    weights = torch.load(golden_checkpoint, weights_only=True, mmap=True)
    for name, _, _ in golden.manifest()["state_dict"]:
        digest.update(weights[name].numpy().tobytes())
    assert digest.hexdigest() == golden.manifest()["weights_sha256"]


def test_parameter_count(golden_network: GISNet) -> None:
    assert sum(p.numel() for p in golden_network.parameters()) == 75_876_291 == golden.manifest()["n_parameters"]


def test_frame_encoder(golden_network: GISNet) -> None:
    r2, _, deep = golden_network.frame_encoder(torch.cat([image("a"), image("b")]))
    check("enc3.r2", r2)
    check("enc3.r4", deep)


def test_interaction_branch(golden_network: GISNet) -> None:
    branch = golden_network.interaction
    planes = tensor(inputs.interaction("x", 2))
    r2, r3, deep, r5 = branch.encoder(torch.cat([image("a").expand(2, -1, -1, -1), planes], dim=1))
    for name, value in {"r2": r2, "r3": r3, "r4": deep, "r5": r5}.items():
        check(f"enc6.{name}", value)
    decoded, aspp = branch.decoder.features(r2, r3, r5)
    check("decoder.m2", decoded)
    check("decoder.aspp", aspp)
    features = golden_network.encode_frame(image("a"))
    interaction = golden_network.interact(image("a"), features, planes)
    check("objext.mask_logit", interaction.mask_logit)
    check("objext.feature", interaction.object_feature)


def test_local_propagation(golden_network: GISNet) -> None:
    module, query, neighbour = golden_network.local_propagation, r4("q"), r4("n", 0.3)
    out = module(
        module.encode_intersection(query),
        module.encode_intersection(neighbour),
        module.encode_neighbour(neighbour),
        tensor(inputs.blob("nei", 2)),
    )
    check("diff.out", out)


@pytest.mark.parametrize("case", TRANSFERS)
def test_transfer(golden_network: GISNet, case: str) -> None:
    frames, query_frame, limit = TRANSFERS[case]
    module = golden_network.attention
    memory = []
    for position in select_memory(frames, query_frame, limit=limit):
        keys = module.keys(r4(f"a{position}", 0.3))
        memory.append((keys, module.values(keys), tensor(inputs.feat(f"ind{position}", (2, 256, H, W)))))
    query = module.keys(r4("q"))
    result = module(query, module.self_transfer(query), memory, (H, W))
    check(f"transfer.{case}.out", result.feature)
    check(f"transfer.{case}.scoremap", result.reliability[0, 0])
    check(f"transfer.{case}.attention", result.attention[0])


def test_transfer_of_a_batch_of_queries(golden_network: GISNet) -> None:
    module = golden_network.attention
    query = module.keys(torch.cat([r4("tq0", 0.2), r4("tq1", 0.2)]))
    memory = []
    for i in range(2):
        keys = module.keys(torch.cat([r4(f"t{i}_0", 0.2), r4(f"t{i}_1", 0.2)]))
        memory.append((keys, module.values(keys), tensor(inputs.feat(f"ind{i}", (2, 256, H, W)))))
    result = module(query, module.self_transfer(query), memory, (H, W))
    check("transfer.trainN2.out", result.feature)
    check("transfer.trainN2.scoremap", result.reliability[0, 0])


def test_fusion_and_head(golden_network: GISNet) -> None:
    fusion = golden_network.fusion
    out = fusion(
        tensor(inputs.feat("trf", (2, 256, H, W))),
        tensor(inputs.feat("dif", (2, 128, H, W))),
        fusion.encode_query(r4("q")),
        fusion.encode_skip(tensor(inputs.feat("r2", (2, 256, 2 * H, 2 * W), relu=True))),
    )
    check("compounder.out", out)
    check("head.out", golden_network.head(tensor(inputs.feat("m2", (2, 256, 2 * H, 2 * W)))))


@pytest.fixture(scope="module")
def annotated(golden_network: GISNet) -> dict[int, list[GISMemory]]:
    """Memory of the five annotated frames for one, two and three objects."""
    entries: dict[int, list[GISMemory]] = {}
    with torch.inference_mode():
        frames = [image("seq", dx=4 * i, dy=2 * i) for i in range(5)]
        features = [golden_network.encode_frame(frame) for frame in frames]
        for objects, count in ((1, 3), (2, 2), (3, 5)):
            entries[objects] = []
            for i in range(count):
                planes = tensor(inputs.interaction(f"seq{i}", objects))
                interaction = golden_network.interact(frames[i], features[i], planes)
                entries[objects].append(golden_network.memorise(features[i], interaction))
    return entries


@pytest.fixture(scope="module")
def query_and_neighbour(golden_network: GISNet) -> tuple[GISFrame, GISFrame]:
    with torch.inference_mode():
        query = golden_network.encode_frame(image("seq", dx=5, dy=-1))
        return query, golden_network.encode_frame(image("seq", dx=7, dy=0))


@pytest.mark.parametrize(("objects", "count"), PROPAGATIONS)
def test_propagation(
    golden_network: GISNet,
    annotated: dict[int, list[GISMemory]],
    query_and_neighbour: tuple[GISFrame, GISFrame],
    objects: int,
    count: int,
) -> None:
    case = f"prop.o{objects}_n{count}"
    positions = select_memory(PROPAGATION_FRAMES[:count], PROPAGATION_QUERY)
    memory = [annotated[objects][p] for p in positions]
    out = golden_network.propagate(*query_and_neighbour, tensor(inputs.blob("p", objects)), memory)
    assert out.logits is not None
    check(f"{case}.logit", out.logits)
    check(f"{case}.score", out.score)
    wins = (out.logits[:, 1] > out.logits[:, 0]).double().mean(dim=(1, 2))
    check(f"{case}.fgfrac", wins)
    seen = score_foreground(out.logits[None], (H, W), "over_objects")
    check(f"{case}.fg_map_frac", seen.mean())
    assert torch.allclose(out.foreground, torch.softmax(out.logits, dim=1)[:, 1:], atol=1e-6)


@pytest.mark.parametrize("objects", [1, 3])
def test_aggregation(objects: int) -> None:
    check(f"softagg.o{objects}.prob", aggregate(tensor(golden.stored(f"softagg.o{objects}.in"))))


def test_every_golden_entry_is_checked() -> None:
    transfers = {f"transfer.{c}.{k}" for c in TRANSFERS for k in ("out", "scoremap", "attention")}
    propagations = {f"prop.o{o}_n{n}.{k}" for o, n in PROPAGATIONS for k in ("logit", "score", "fgfrac", "fg_map_frac")}
    rest = {n for n in golden.index() if not n.startswith(("transfer.", "prop.", "in."))}
    assert transfers | propagations | rest | {"transfer.trainN2.out", "transfer.trainN2.scoremap"} == set(
        golden.index()
    )
    assert rest == {
        *("enc3.r2", "enc3.r4", "enc6.r2", "enc6.r3", "enc6.r4", "enc6.r5", "decoder.m2", "decoder.aspp"),
        *("objext.mask_logit", "objext.feature", "diff.out", "compounder.out", "head.out"),
        *("softagg.o1.in", "softagg.o1.prob", "softagg.o3.in", "softagg.o3.prob"),
    }
