"""Networks with one part switched off, made from a trained one at evaluation time.

Nothing is trained again: the figures say what the trained network loses without the part, not how well a network would
do that had never had it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from libs.segmenter import Segmenter
from libs.session import MemoryRecord, Session
from networks.attention import ReliabilityAttention, Transfer
from networks.compact.encoder import CompactFeatures
from networks.compact.matching import CompactEntry, CompactReading, GlobalTransfer, Transferred
from networks.compact.network import CompactGIS
from networks.compact.propagation import CompactPropagation
from networks.interface import GuidedNetwork
from networks.network import GISNet


class OneByOne(nn.Module):
    """Asks a transfer module about each annotated frame alone, and combines the answers by a rule of its own.

    Frames that were passed a moment ago stay beside each annotated frame: the rule is about annotated frames.
    """

    def __init__(self, transfer: GlobalTransfer | ReliabilityAttention, *, best: bool):
        super().__init__()
        self.transfer, self.best = transfer, best

    def forward(self, query: object, *rest: Any) -> Transferred | Transfer:
        """The arguments of the module that it stands for."""
        if isinstance(self.transfer, GlobalTransfer):
            (memory,) = rest
            passed = [entry for entry in memory if entry.passed]
            if len(passed) == len(memory):  # a second opinion in the first round: there is nothing to choose between
                return self.transfer(query, memory)
            answers = [self.transfer(query, [entry, *passed]) for entry in memory if not entry.passed]
            sure = [float(a.frame_reliability[0].detach().mean()) for a in answers]
        else:
            query_self, memory, size = rest
            answers = [self.transfer(query, query_self, [entry], size) for entry in memory]
            sure = [float(a.reliability.detach().mean()) for a in answers]
        if self.best:
            return answers[max(range(len(sure)), key=sure.__getitem__)]
        return mean_answer(answers)

    def __getattr__(self, name: str) -> Any:
        # The published module also makes keys and values, which stay as they are.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("transfer"), name)


def mean_answer(answers: Sequence[Transferred] | Sequence[Transfer]) -> Any:
    """Every annotated frame weighs the same, everywhere."""

    def mean(name: str) -> Tensor:
        return torch.stack([getattr(a, name) for a in answers]).mean(0)

    first = answers[0]
    if isinstance(first, Transferred):
        return Transferred(
            feature=mean("feature"),
            mask=mean("mask"),
            evidence=mean("evidence"),
            frame_mask=torch.cat([a.frame_mask for a in answers]),
            frame_reliability=torch.cat([a.frame_reliability for a in answers]),
        )
    reliability = torch.stack([a.reliability for a in answers]).amax(0)  # the published map: the surest frame's
    return replace(first, feature=mean("feature"), reliability=reliability)


def averaged(network: GuidedNetwork) -> GuidedNetwork:
    """Plain averaging over the annotated frames instead of R-attention."""
    return _with_transfer(network, best=False)


def best_single(network: GuidedNetwork) -> GuidedNetwork:
    """For each query frame only the annotated frame whose answer looks most reliable as a whole."""
    return _with_transfer(network, best=True)


def _with_transfer(network: GuidedNetwork, *, best: bool) -> GuidedNetwork:
    changed = copy.deepcopy(network)
    if isinstance(changed, CompactGIS):
        changed.propagation.global_transfer = OneByOne(changed.propagation.global_transfer, best=best)
    elif isinstance(changed, GISNet):
        changed.attention = OneByOne(changed.attention, best=best)
    else:
        raise TypeError(f"no global transfer is known in {type(network).__name__}")
    return changed


def without_reliability(network: CompactGIS) -> CompactGIS:
    """One softmax over the positions of all annotated frames, as in space-time memories: no learned reliability."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.propagation.global_transfer.reliability_weight.zero_()
    return changed


class WithoutLocal(CompactGIS):
    """No information from the neighbouring frame.

    What the annotated frames say of the query frame itself takes the neighbour's place, so the decoder sees inputs of
    the kind that it knows: perfect agreement with a "neighbour" that knows only what the annotated frames know.
    """

    def propagate(
        self,
        query: CompactFeatures,
        neighbour: CompactFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[CompactEntry | CompactReading],
    ) -> CompactPropagation:
        if query is neighbour:  # the annotated frame itself has no neighbour anyway
            return super().propagate(query, neighbour, neighbour_foreground, memory)
        query = replace(query, flow=None, agreement=None)  # kept by the whole network, whose features this one uses
        known = self.propagation.global_transfer(query, memory).mask  # O x 4 x h x w
        fine = nn.functional.pixel_shuffle(known, 2)  # O x 1 x H/4 x W/4
        foreground = nn.functional.interpolate(fine, scale_factor=4, mode="bilinear", align_corners=False)
        return super().propagate(query, query, foreground, memory)

    def compared(self, query: CompactFeatures, output: CompactPropagation) -> CompactFeatures:
        """Nothing is worth keeping: what the whole network kept must not be overwritten."""
        return query


def without_local(network: CompactGIS) -> WithoutLocal:
    """Global transfer only."""
    changed = WithoutLocal(network.config)
    changed.load_state_dict(network.state_dict())
    return changed.eval()


class WithoutTrail(Segmenter):
    """Each frame reads annotated frames only, none of those that were just passed.

    The second opinion of a first round reads nothing else, so it goes with them.
    """

    def __init__(self, network: GuidedNetwork, **rest: Any):
        super().__init__(network, **rest)
        self.options = replace(self.options, passed_frames=0)


class WithoutOpinions(Segmenter):
    """The published way of a round: an annotated frame stays as it is, and no round goes on behind another one."""

    def __init__(self, network: GuidedNetwork, **rest: Any):
        super().__init__(network, **rest)
        self.options = replace(self.options, second_opinions=0, crossings=0)


def without_share(network: CompactGIS) -> CompactGIS:
    """No frame's mask keeps anything of its neighbour's but what the network makes of it."""
    changed = copy.deepcopy(network)
    changed.propagation.neighbour_share = 0.0
    return changed


class WithoutKeeping(Segmenter):
    """What strokes corrected goes through the propagation network as first strokes do."""

    def __init__(self, network: GuidedNetwork, **rest: Any):
        super().__init__(network, **rest)
        self.options = replace(self.options, keep_corrected=False)


class NearestMemory(Segmenter):
    """Each frame reads only the annotated frame nearest in time; of two as near, the later annotated."""

    def _propagated_frame(self, session: Session, frame: int, *rest: Any) -> Any:
        self._query = frame
        return super()._propagated_frame(session, frame, *rest)

    def _judged_again(self, session: Session, frame: int, *rest: Any) -> Any:
        self._query = frame
        return super()._judged_again(session, frame, *rest)

    def _object_groups(
        self, session: Session, memory: Sequence[MemoryRecord]
    ) -> list[tuple[list[int], list[MemoryRecord]]]:
        groups = super()._object_groups(session, memory)
        return [
            (rows, [min(reversed(records), key=lambda record: abs(record.frame - self._query))])
            for rows, records in groups
        ]
