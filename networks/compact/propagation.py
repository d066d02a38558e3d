"""The propagation branch: annotated frames and neighbour -> the query frame's masks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.compact.config import CompactConfig
from networks.compact.encoder import CompactFeatures
from networks.compact.layers import Decoder, Trunk, cells, conv, evidence, halved, others, upsample
from networks.compact.matching import CompactEntry, CompactReading, FlowRefinement, GlobalTransfer, LocalTransfer, warp
from networks.compact.quality import QualityHead
from networks.interface import Propagation

#: What the neighbour's warped mask weighs in a frame's logit, besides what the network makes of it, from the second
#: annotated frame on: a good mask loses a little every time that the network draws it anew, but what is kept keeps its
#: errors, which are many after first strokes alone.  Measured in checkpoints/gis-compact-measurements.md, "What is kept
#: of a mask".
NEIGHBOUR_SHARE = 0.15

MAX_SQUARED_DIFFERENCE = 80.0  # of details: exp(-80) is no agreement, and still a normal float32


@dataclass(frozen=True)
class CompactPropagation(Propagation):
    """With what training supervises besides the mask."""

    feature: Tensor | None = None  # O x 24 x h x w, what a frame that remembers this one reads of its objects
    transferred: Tensor | None = None  # O x 1 x H/4 x W/4, mask carried from the annotated frames
    matched: Tensor | None = None  # O x 1 x H/4 x W/4, mask carried from the neighbour by matching
    flow: Tensor | None = None  # 1 x 2 x H/2 x W/2, motion into the neighbour
    agreement: Tensor | None = None  # 1 x 12 x H/4 x W/4, of the two frames after the motion
    warped: Tensor | None = None  # O x 1 x H/2 x W/2, the neighbour's mask warped
    change: Tensor | None = None  # 1 x 3 x H/2 x W/2, this frame's colours minus the neighbour's, warped
    correctness_logit: Tensor | None = None  # O x 1 x h x w, of the final mask
    quality_logit: Tensor | None = None  # O, predicted J
    frame_masks: Tensor | None = None  # N x O x 1 x H/4 x W/4, what each annotated frame says
    frame_reliability: Tensor | None = None  # N x 1 x h x w, logit of its being right


class PropagationBranch(nn.Module):
    """Global transfer, local transfer, and a decoder that weighs and corrects them."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c = config
        self.bfloat16 = False  # compute trunk and decoder in that format
        self.neighbour_share = NEIGHBOUR_SHARE
        self.global_transfer = GlobalTransfer(c)
        self.local_transfer = LocalTransfer(c)
        self.refinement = FlowRefinement(c.fine_window, sharpness=2.5, slope=0.4)
        self.last_refinement = FlowRefinement(1, sharpness=40.0, slope=0.1)
        self.pair = conv(4 + 1 + 2 + c.detail_channels, c.trunk_channels, 1)
        self.object = conv(c.object_channels + 4 + 4 + 1 + 2, c.trunk_channels, 1)
        self.trunk = Trunk(c.trunk_channels)
        self.decoder = Decoder(
            c.trunk_channels,
            coarse=3 + c.detail_channels,
            fine=1,
            skip4=c.skip4_channels,
            skip2=c.skip2_channels,
            coarse_priors=2,
            fine_priors=1,
            picture=6,
        )
        self.quality = QualityHead(c.trunk_channels)
        self.feature = conv(c.trunk_channels, c.object_channels, 1, gain=0.0)

    def use_bfloat16(self) -> None:
        """Compute global matching, trunk and decoder in that format, for good."""
        self.bfloat16 = self.global_transfer.bfloat16 = True
        for part in (self.object, self.pair, *self.trunk.modules(), *self.decoder.modules()):
            if isinstance(part, nn.Conv2d):
                part.to(torch.bfloat16)  # once, instead of in every call

    def forward(
        self,
        query: CompactFeatures,
        neighbour: CompactFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[CompactEntry | CompactReading],
    ) -> CompactPropagation:
        transferred = self.global_transfer(query, memory)
        half = halved(neighbour_foreground.float())  # O x 1 x H/2 x W/2
        local = self.local_transfer(query, neighbour, F.pixel_unshuffle(halved(half), 2))
        flow, agreement = self._motion(query, neighbour, local.flow)
        carried = warp(torch.cat([half.transpose(0, 1), neighbour.colour], 1), flow)  # 1 x (O + 3) x H/2 x W/2
        warped = carried[:, :-3].transpose(0, 1)  # O x 1 x H/2 x W/2
        change = query.colour - carried[:, -3:]
        picture = torch.cat([query.colour, change], 1)  # 1 x 6 x H/2 x W/2
        warped4 = halved(warped)
        pair = torch.cat(
            [
                transferred.evidence / 4,
                local.strength / 4,
                local.flow / 4,
                F.avg_pool2d(agreement, 2),
            ],
            1,
        )
        rivals = torch.cat([others(m.mean(1, keepdim=True)) for m in (transferred.mask, local.mask)], 1)
        own = [
            transferred.feature,
            transferred.mask,
            local.mask,
            F.avg_pool2d(warped4, 2),
            rivals,
        ]
        masks4 = torch.cat([F.pixel_shuffle(m, 2) for m in (transferred.mask, local.mask)], 1)  # O x 2 x H/4 x W/4
        coarse = torch.cat([masks4, warped4], 1)
        priors = evidence(masks4), evidence(warped)
        lower = torch.autocast(query.key.device.type, torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()
        with lower:
            trunk = self.trunk(self.object(torch.cat(own, 1)) + self.pair(pair) + query.query)  # O x 64 x h x w
            logit = self.decoder(
                trunk, (query.skip4, query.skip2), coarse, warped, priors, picture=picture, shared=agreement
            )  # O x 1 x H x W
        if self.bfloat16:
            trunk = trunk.float()
        foreground = torch.sigmoid(logit)
        quality = self.quality(
            trunk,
            foreground,
            transferred.mask,
            warped4,
            transferred.evidence,
            local.strength,
        )
        if not self.training and sum(not entry.passed for entry in memory) > 1:
            logit = torch.lerp(logit, upsample(priors[1], 2), self.neighbour_share)
            foreground = torch.sigmoid(logit)
        return CompactPropagation(
            foreground=foreground,
            score=quality.score,
            reliability=quality.reliability,
            logits=logit,
            feature=transferred.feature + self.feature(F.relu(trunk)),
            transferred=masks4[:, :1],
            matched=masks4[:, 1:],
            flow=flow,
            agreement=agreement,
            warped=warped,
            change=change,
            correctness_logit=quality.correctness_logit,
            quality_logit=quality.quality_logit,
            frame_masks=torch.stack([F.pixel_shuffle(m, 2) for m in transferred.frame_mask]),
            frame_reliability=transferred.frame_reliability,
        )

    def _motion(self, query: CompactFeatures, neighbour: CompactFeatures, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Precise motion, 1 x 2 x H/2 x W/2, and where the frames agree after it, 1 x 12 x H/4 x W/4; `flow` is that of
        the matching.  Shared by all objects, the same in every round, and a sixth of a propagation."""
        if query.flow is not None and query.agreement is not None:
            return query.flow, query.agreement
        flow = self.refinement(query.fine_key, neighbour.fine_key, flow)  # 1 x 2 x H/4 x W/4
        difference = query.detail.float() - warp(neighbour.detail, flow)
        # Without the limit the exponential reaches denormal numbers, which take a CPU twenty times as long.
        agreement = torch.exp(-(difference**2).clamp(max=MAX_SQUARED_DIFFERENCE))  # 1 x 12 x H/4 x W/4
        return self.last_refinement(query.colour, neighbour.colour, flow), agreement


class Memoriser(nn.Module):
    """What the propagation reads of an annotated frame."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        c = config
        self.context = conv(c.context_channels, c.object_channels, 1)
        self.object = conv(2 * c.object_channels + 4, c.object_channels)

    def forward(self, features: CompactFeatures, object_feature: Tensor, foreground: Tensor) -> CompactEntry:
        """`foreground` O x 1 x H x W in [0, 1], `object_feature` O x 24 x h x w."""
        mask = cells(foreground.float())  # O x 4 x h x w
        context = F.relu(self.context(features.context)).expand(len(mask), -1, -1, -1)
        value = self.object(torch.cat([context, object_feature, mask], 1))
        return CompactEntry(key=features.key, value=features.value, object_value=value, mask=mask)
