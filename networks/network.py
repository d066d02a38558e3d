"""The published network of guided interactive video object segmentation (spec: method.md, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from networks.attention import Reading, ReliabilityAttention
from networks.deeplab.se_resnet import SEResNet
from networks.interaction import InteractionBranch
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation
from networks.layers import per_object
from networks.local_propagation import LocalPropagation
from networks.reliability import ScoreForeground, r_score, score_foreground
from networks.segmentation import FeatureFusion, SegmentationHead

# Objects that are computed at a time.  In the interaction branch each takes 0.25 GB at 480 x 854, elsewhere 0.15 GB.
# More at a time are no faster on a CPU (in the interaction branch 3 %: its weights are transformed for every portion).
PORTION = 2
PORTION_ANNOTATED = 1
PORTION_CUDA = 16  # at 480 x 854; fewer of larger pictures


@dataclass(frozen=True)
class GISFrame(FrameFeatures):
    """What the later steps need of a frame: 704 channels at 1/8 and 128 at 1/4 (33 MB in float32 at 480 x 854).

    The encoder's own outputs are not among them (2048 channels' worth): only projections of them are read again.
    """

    keys: Tensor  # B x 128 x P
    self_transfer: Tensor  # B x 128 x P, values brought from the frame to itself
    intersection: Tensor  # B x 128 x h x w, what neighbouring frames are compared by
    neighbour: Tensor  # B x 64 x h x w, the frame as a neighbour, without its mask
    query: Tensor  # B x 256 x h x w, the frame as a query
    skip: Tensor  # B x 128 x H/4 x W/4, for the refinement


@dataclass(frozen=True)
class GISMemory(MemoryEntry):
    """One annotated frame."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("object_feature",)

    keys: Tensor  # B x 128 x P
    values: Tensor  # B x 128 x P
    object_feature: Tensor  # O x 256 x h x w


@dataclass(frozen=True)
class GISReading(MemoryEntry):
    """One annotated frame as one query frame reads it (7 MB per object in float32 at 480 x 854)."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("feature",)

    feature: Tensor  # O x 256 x P, the object feature brought to the query
    logit: Tensor  # B x P, its reliability


class GISNet(GuidedNetwork):
    """SE-ResNet-50 encoders, ASPP decoders, reliability attention, intersection-aware propagation.

    75,876,291 parameters.  `score_foreground` names what the R-score takes for foreground (networks/reliability.py);
    the default is the one that the published numbers were made with.

    Every method also takes a batch of B frames (for training); then O counts the objects of all of them, those of one
    frame next to each other, and `Propagation.score` has B elements.
    """

    architecture: ClassVar[str] = "resnet50"
    pad_multiple: ClassVar[int] = 32
    pad_always: ClassVar[bool] = True
    memory_class: ClassVar[type[MemoryEntry]] = GISMemory

    def __init__(self, *, score_foreground: ScoreForeground = "over_objects") -> None:
        super().__init__()
        self.score_foreground: ScoreForeground = _checked(score_foreground)
        self.frame_encoder = SEResNet(3, strides=(1, 2, 1), dilations=(1, 1, 2))
        self.interaction = InteractionBranch()
        self.attention = ReliabilityAttention()
        self.local_propagation = LocalPropagation()
        self.fusion = FeatureFusion()
        self.head = SegmentationHead()

    @property
    def config(self) -> dict[str, str]:
        """The constructor's arguments, for checkpoints."""
        return {"score_foreground": self.score_foreground}

    def configure(self, *, score_foreground: ScoreForeground | None = None, flex_attention: bool | None = None) -> None:
        """Choose the R-score's foreground, and the attention's way, as `GuidedNetwork.configure` says."""
        if score_foreground is not None:
            self.score_foreground = _checked(score_foreground)
        if flex_attention is not None:
            self.attention.use_flex = flex_attention

    def encode_frame(self, image: Tensor) -> GISFrame:
        """`image` B x 3 x H x W, RGB normalised with `image_mean`/`image_std`, H and W multiples of 32."""
        r2, _, r4 = self.frame_encoder(image)
        keys = self.attention.keys(r4)
        return GISFrame(
            keys=keys,
            self_transfer=self.attention.self_transfer(keys),
            intersection=self.local_propagation.encode_intersection(r4),
            neighbour=self.local_propagation.encode_neighbour(r4),
            query=self.fusion.encode_query(r4),
            skip=self.fusion.encode_skip(r2),
        )

    def interact(self, image: Tensor, features: GISFrame, planes: Tensor) -> Interaction:
        """`image` B x 3 x H x W, `planes` O x 3 x H x W -> mask logit and object feature; `features` is not used."""
        objects = planes.shape[0]
        images = per_object(image, objects).expand(objects, -1, -1, -1)
        pixels = planes.shape[-2] * planes.shape[-1]
        mask_logit, object_feature = in_portions(
            self.interaction, images, planes, size=PORTION_ANNOTATED, pixels=pixels
        )
        return Interaction(mask_logit=mask_logit, object_feature=object_feature)

    def memorise(self, features: GISFrame, interaction: Interaction) -> GISMemory:
        """Keys, values and object feature of one annotated frame."""
        return GISMemory(
            keys=features.keys,
            values=self.attention.values(features.keys),
            object_feature=interaction.object_feature,
        )

    def read(self, query: GISFrame, entry: GISMemory) -> GISReading:
        """The object feature brought to the query frame: all the work of the attention."""
        reading = self.attention.read(query.keys, query.self_transfer, entry.keys, entry.values, entry.object_feature)
        # A copy, lest a view keeps the transferred values in memory, too.
        return GISReading(reading.feature.clone(), reading.logit)

    def propagate(
        self,
        query: GISFrame,
        neighbour: GISFrame,
        neighbour_foreground: Tensor,
        memory: Sequence[GISMemory | GISReading],
    ) -> Propagation:
        """Segment the query frame (see the interface); `logits` are O x 2 x H x W, background and object."""
        objects, size = neighbour_foreground.shape[0], query.query.shape[-2:]
        entries = [
            Reading(entry.feature, entry.logit)
            if isinstance(entry, GISReading)
            else (entry.keys, entry.values, entry.object_feature)
            for entry in memory
        ]
        transfer = self.attention(query.keys, query.self_transfer, entries, size)
        local = self.local_propagation(
            per_object(query.intersection, objects),
            per_object(neighbour.intersection, objects),
            per_object(neighbour.neighbour, objects),
            neighbour_foreground,
        )
        own, skip = per_object(query.query, objects), per_object(query.skip, objects)
        (logits,) = in_portions(
            lambda *parts: (self.head(self.fusion(*parts)).float(),),
            *(transfer.feature, local, own, skip),
            size=PORTION,
            pixels=neighbour_foreground.shape[-2] * neighbour_foreground.shape[-1],
        )  # O x 2 x H x W
        batch = transfer.reliability.shape[0]
        seen = score_foreground(logits.detach().unflatten(0, (batch, -1)), size, self.score_foreground)
        score = r_score(transfer.reliability, seen)
        return Propagation(
            foreground=torch.sigmoid(logits[:, 1:] - logits[:, :1]),  # the softmax over the two, channel 1
            score=score[0] if batch == 1 else score,
            reliability=transfer.reliability,
            logits=logits,
        )


def in_portions(
    function: Callable[..., tuple[Tensor, ...]], first: Tensor, *others: Tensor, size: int, pixels: int
) -> tuple[Tensor, ...]:
    """`function` of O x ... tensors, computed for `size` objects at a time (more on a GPU, unless frames have many
    `pixels`), so that memory is bounded.

    Where the leading axis of one of the `others` is 1, that tensor is every portion's.  Nothing is cut while gradients
    are kept: they need everything anyway.
    """
    if first.is_cuda:
        size = max(size, PORTION_CUDA * 480 * 854 // pixels)
    objects = first.shape[0]
    if objects <= size or torch.is_grad_enabled():
        return function(first, *others)
    outputs = []
    for start in range(0, objects, size):
        portion = slice(start, start + size)
        outputs.append(function(first[portion], *(x if x.shape[0] == 1 else x[portion] for x in others)))
    return tuple(torch.cat(parts) for parts in zip(*outputs))


def _checked(score_foreground: ScoreForeground) -> ScoreForeground:
    if score_foreground not in get_args(ScoreForeground):
        raise ValueError(f"score_foreground must be one of {get_args(ScoreForeground)}, not {score_foreground!r}")
    return score_foreground
