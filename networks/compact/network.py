"""The compact network: same idea and interface as the published one, at a twentieth of its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.compact.config import CompactConfig
from networks.compact.encoder import CompactFeatures, FrameEncoder
from networks.compact.interaction import InteractionBranch
from networks.compact.layers import cells
from networks.compact.matching import CompactEntry, CompactReading
from networks.compact.propagation import (
    CompactPropagation,
    Memoriser,
    PropagationBranch,
)
from networks.interface import GuidedNetwork, Interaction, aggregate


class Look(NamedTuple):
    """Another view of the annotated frame."""

    scale: float
    mirrored: bool


#: The annotated frame decides over all others and is one among many, so the interaction branch may look at it again.
#: Each look costs an encoding and a run of the branch at its scale, .05 to .25 s on one core.  Seven real sequences, J
#: of the first three rounds: .687 .727 .756 without the largest, .689 .734 .764 with it.
SECOND_LOOKS = (Look(0.75, True), Look(1.25, False), Look(1.5, True))


class CompactGIS(GuidedNetwork):
    """EfficientNet-Lite0, one encoder for both branches, matching at stride 8, decoders down to stride 2."""

    architecture: ClassVar[str] = "compact"
    image_mean: ClassVar[tuple[float, float, float]] = (
        127 / 255,
        127 / 255,
        127 / 255,
    )  # the backbone's own scaling
    image_std: ClassVar[tuple[float, float, float]] = (128 / 255, 128 / 255, 128 / 255)
    preferred_short_side: ClassVar[int | None] = 288
    negatives_everywhere: ClassVar[bool] = True  # also a background stroke beside the mask is evidence
    wide_layers: ClassVar[bool] = False  # 64 channels: the short way takes 1.3 times as long
    # Four frames of 288 x 512.  On two cores they take 15 to 17 ms each instead of 20 to 23 alone, on one 26 instead of
    # 31: small layers leave the second core and the calls' own cost to be shared.  The same bits at this size; at
    # smaller ones the last digits may differ with the frames that go together.
    batch_pixels: ClassVar[int] = 4 * 288 * 512
    remembers_passed: ClassVar[bool] = True
    memory_class: ClassVar[type[CompactEntry]] = CompactEntry

    def __init__(self, config: CompactConfig | None = None) -> None:
        super().__init__()
        self.config: CompactConfig = config or CompactConfig()
        self.encoder = FrameEncoder(self.config)
        self.interaction = InteractionBranch(self.config)
        self.memoriser = Memoriser(self.config)
        self.propagation = PropagationBranch(self.config)
        self.to(memory_format=torch.channels_last)  # half the time of the other layout on a CPU

    def use_bfloat16(self) -> None:
        """Compute backbone, global matching, trunk and decoder in bfloat16, for a CPU that has instructions for it; for
        good.

        Half the time of the first two, three quarters of the others'.
        """
        self.encoder.backbone.to(torch.bfloat16)
        self.propagation.use_bfloat16()

    @property
    def in_bfloat16(self) -> bool:
        """Whether `use_bfloat16` was called."""
        return self.propagation.bfloat16

    def encode_frames(self, images: Tensor) -> list[CompactFeatures]:
        """B x 3 x H x W -> the features of each frame, views of one batch: cheaper than B calls."""
        return self.encoder(images)

    def encode_frame(self, image: Tensor) -> CompactFeatures:
        return self.encoder(image)[0]

    def interact(self, image: Tensor, features: CompactFeatures, planes: Tensor) -> Interaction:
        """In use, the mean logit over `SECOND_LOOKS` and the plain look; in training the plain look alone."""
        interaction = self.interaction(features, planes)
        if self.training:
            return interaction
        logits = [interaction.mask_logit, *(self._look(image, planes, look) for look in SECOND_LOOKS)]
        return replace(interaction, mask_logit=torch.stack(logits).mean(0))

    def _look(self, image: Tensor, planes: Tensor, look: Look) -> Tensor:
        """The mask logit from a resized, perhaps mirrored picture: O x 1 x H x W."""
        size = image.shape[-2:]
        small = tuple(max(1, round(look.scale * n / self.pad_multiple)) * self.pad_multiple for n in size)
        inputs = [F.interpolate(x, size=small, mode="bilinear", align_corners=False) for x in (image, planes.float())]
        if look.mirrored:
            inputs = [x.flip(-1) for x in inputs]
        logit = self.interaction(self.encode_frame(inputs[0]), inputs[1]).mask_logit
        if look.mirrored:
            logit = logit.flip(-1)
        return F.interpolate(logit, size=size, mode="bilinear", align_corners=False)

    def memorise(self, features: CompactFeatures, interaction: Interaction) -> CompactEntry:
        # Aggregated: where two objects claim the same pixels the memory holds the settled answer.
        foreground = aggregate(interaction.foreground)[1:, None]  # O x 1 x H x W
        return self.memoriser(features, interaction.object_feature, foreground)

    def read(self, query: CompactFeatures, entry: CompactEntry) -> CompactReading:
        """Mask and object feature brought to the query frame: half the time of its propagation."""
        return self.propagation.global_transfer.read(query, entry)

    def compared(self, query: CompactFeatures, output: CompactPropagation) -> CompactFeatures:
        """With the motion from the neighbour."""
        return replace(query, flow=output.flow, agreement=output.agreement)

    def remember(self, features: CompactFeatures, output: CompactPropagation, foreground: Tensor) -> CompactEntry:
        # The masks are what the next frame is told of them, as everywhere between frames: no gradient runs through.
        mask = cells(foreground.detach().float())
        return CompactEntry(
            key=features.key,
            value=features.value,
            object_value=output.feature,
            mask=mask,
            confidence=output.reliability.detach(),
        )

    def propagate(
        self,
        query: CompactFeatures,
        neighbour: CompactFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[CompactEntry | CompactReading],
    ) -> CompactPropagation:
        return self.propagation(query, neighbour, neighbour_foreground, memory)
