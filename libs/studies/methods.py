"""What is compared: the network, the network without a part, and the two baselines."""

from __future__ import annotations

import copy
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from libs.baselines.grabcut_flow import GrabCutFlow
from libs.baselines.label_propagation import LabelPropagation, PropagationSettings
from libs.device import computes_bfloat16
from libs.segmenter import BORNE_OUT, CROSSING_BORNE_OUT, CROSSINGS, SECOND_OPINIONS, Segmenter
from libs.studies import ablation
from networks.compact.network import CompactGIS
from networks.compact.propagation import NEIGHBOUR_SHARE
from networks.compact.quality import THICKNESS
from networks.inference import prepare_for_inference
from networks.interface import GuidedNetwork

NETWORK = "network"
Build = Callable[[GuidedNetwork], Segmenter]
# What the network's masks depend on besides.
MASKS = (
    f"{SECOND_OPINIONS} second opinions if borne out by {BORNE_OUT}, {CROSSINGS} crossings by {CROSSING_BORNE_OUT}, "
    f"{CompactGIS.preferred_short_side} pixels, {NEIGHBOUR_SHARE} of the neighbour's mask, corrections kept"
)


@dataclass(frozen=True)
class Method:
    """One line of a table."""

    name: str
    title: str
    build: Build
    weights: Callable[[GuidedNetwork], nn.Module | None]  # what its results depend on; None = on no weights
    shares_first_round: bool = False  # with one annotated frame it is the network itself
    shares_features: bool = False  # it encodes frames as the network does
    compact_only: bool = False
    settings: str = ""  # what else they depend on

    def identity(self, network: GuidedNetwork) -> str:
        """A digest of the weights and settings that its results depend on."""
        part = self.weights(network)
        digest = self.name if part is None else weights_digest(part)
        return f"{digest}-{zlib.crc32(self.settings.encode()):08x}" if self.settings else digest


def weights_digest(module: nn.Module) -> str:
    """16 hexadecimal digits over all tensors, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _of(change: Callable[[GuidedNetwork], GuidedNetwork] | None, kind: type[Segmenter] = Segmenter) -> Build:
    def build(network: GuidedNetwork) -> Segmenter:
        device = next(network.parameters()).device
        own = copy.deepcopy(network) if change is None else change(network)
        # In the arithmetic in which it is used; a copy, for the weights given are what runs are known by.
        return kind(prepare_for_inference(own, bfloat16=computes_bfloat16(device)), device=device)

    return build


def _ablated(
    name: str,
    title: str,
    change: Callable[[GuidedNetwork], GuidedNetwork] | None,
    kind: type[Segmenter] = Segmenter,
    *,
    shares_first_round: bool = True,
    compact_only: bool = False,
    settings: str = MASKS,  # they are played with the truly worst frames, whatever their R-scores
) -> Method:
    return Method(
        name,
        title,
        _of(change, kind),
        lambda n: n,
        shares_first_round,
        shares_features=True,
        compact_only=compact_only,
        settings=settings,
    )


def _label_propagation(network: GuidedNetwork) -> Segmenter:
    backbone = network.encoder.backbone
    return Segmenter(LabelPropagation(backbone), device=next(backbone.parameters()).device)


FULL = Method(
    NETWORK,
    "R-attention (the network)",
    _of(None),
    lambda n: n,
    shares_features=True,
    settings=f"{MASKS}, R-scores with {THICKNESS} of the masks' thickness",
)

ABLATIONS = (
    _ablated(
        "no-reliability",
        "one softmax over all annotated positions, no reliability",
        ablation.without_reliability,
        shares_first_round=False,  # frames just passed are among the positions, in round 1 as well
        compact_only=True,
        settings=f"{MASKS}, a first round of its own",
    ),
    _ablated("average", "plain averaging over annotated frames", ablation.averaged),
    _ablated("best-frame", "the single most reliable frame", ablation.best_single),
    _ablated("nearest-frame", "the single nearest frame in time", None, ablation.NearestMemory),
    _ablated(
        "drawn-anew",
        "every mask drawn anew: no share of the neighbour's, no corrections kept",
        ablation.without_share,
        ablation.WithoutKeeping,
        compact_only=True,
    ),
    _ablated(
        "no-trail",
        "without memory of frames just passed",
        None,
        ablation.WithoutTrail,
        shares_first_round=False,
        compact_only=True,
    ),
    _ablated(
        "no-opinions",
        "annotated frames are never judged again",
        None,
        ablation.WithoutOpinions,
        shares_first_round=False,
        compact_only=True,
    ),
    _ablated(
        "no-local", "without local propagation", ablation.without_local, shares_first_round=False, compact_only=True
    ),
)

BASELINES = (
    Method(
        "label-propagation",
        "label propagation, same frozen features",
        _label_propagation,
        lambda n: n.encoder.backbone,
        compact_only=True,
        settings=f"GrabCut later, {PropagationSettings()}, {LabelPropagation.preferred_short_side} pixels",
    ),
    Method(
        "grabcut-flow",
        "GrabCut and DIS optical flow",
        lambda n: Segmenter(GrabCutFlow(), device=torch.device("cpu")),
        lambda n: None,
    ),
)


def methods_for(network: GuidedNetwork, methods: tuple[Method, ...]) -> list[Method]:
    """Those that this network can be asked for."""
    return [m for m in methods if not m.compact_only or isinstance(network, CompactGIS)]
