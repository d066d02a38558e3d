"""What the segmenter asks of a network, whichever network it is.

Shapes: `O` objects, `N` annotated frames, `H, W` padded frame size, `h, w` the size of the matching grid.  A network
knows tensors only: no videos, files, frame numbers or sessions (those live in `libs/`).

The life of a network in one round (spec: method.md, sections 1 and 4)::

    features = network.encode_frame(image)                                # once per frame, then cached
    interaction = network.interact(image, features, planes)               # on the annotated frame
    entry = network.memorise(features, interaction)                       # joins the memory
    first = network.propagate(features, features, interaction.foreground, [entry])
    ...
    readings = [network.read(query, entry) for entry in memory]           # may be kept over rounds
    output = network.propagate(query, neighbour, neighbour_foreground, readings)   # on every other frame
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self  # typing.Self needs Python 3.11


@dataclass(frozen=True)
class TensorGroup:
    """A frozen dataclass whose fields are tensors (or `None`); moved, measured and saved as one."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to every tensor."""
        return replace(self, **{f.name: function(v) for f in fields(self) if (v := getattr(self, f.name)) is not None})

    def tensors(self) -> dict[str, Tensor]:
        """Field name -> tensor, without the fields that are `None`."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}

    @property
    def nbytes(self) -> int:
        """Bytes held by the tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors().values())


@dataclass(frozen=True)
class FrameFeatures(TensorGroup):
    """Everything that depends on one frame alone; each network adds its fields.  The leading axis is always 1."""


@dataclass(frozen=True)
class Interaction(TensorGroup):
    """What the interaction branch makes of one annotated frame; each network may add fields."""

    mask_logit: Tensor  # O x 1 x H x W
    object_feature: Tensor  # O x C x h x w

    @property
    def foreground(self) -> Tensor:
        """First mask as probability in (0, 1), O x 1 x H x W."""
        return torch.sigmoid(self.mask_logit)


@dataclass(frozen=True)
class MemoryEntry(TensorGroup):
    """One annotated frame as the propagation sees it; each network adds its fields.

    Fields whose first axis is the object axis are listed in `OBJECT_FIELDS`, so that objects can be picked out of
    an entry (`select_objects`) when an object is removed, or was added after the frame was annotated.
    """

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ()

    def select_objects(self, rows: Sequence[int]) -> Self:
        """The same entry with only these rows of the object axis, in this order."""
        index = list(rows)
        return replace(self, **{name: getattr(self, name)[index] for name in self.OBJECT_FIELDS})


@dataclass(frozen=True)
class Propagation(TensorGroup):
    """What the propagation branch says of one frame."""

    foreground: Tensor  # O x 1 x H x W, probability of each object on its own, in (0, 1)
    score: Tensor  # scalar (0-dim), R-score of the frame, in (0, 1); low = probably wrong
    reliability: Tensor  # 1 x 1 x h x w, reliability map, in (0, 1]
    logits: Tensor | None = None  # raw output of the head, for losses and tests; shape is the network's own


class GuidedNetwork(nn.Module, abc.ABC):
    """A network for guided interactive segmentation.  Two exist: `resnet50` (published) and `compact`."""

    architecture: ClassVar[str]  # written into checkpoints, read by the checkpoint loader
    pad_multiple: ClassVar[int] = 32  # H and W of every input are multiples of this
    pad_always: ClassVar[bool] = False  # the published rule: at least one pixel of padding, even if already a multiple
    image_mean: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    image_std: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)
    preferred_short_side: ClassVar[int | None] = None  # working size the network was trained for; None = any
    negatives_everywhere: ClassVar[bool] = False  # False: negative scribbles count only inside the previous mask
    remembers_passed: ClassVar[bool] = False  # True: frames just propagated join the memory while a direction runs
    wide_layers: ClassVar[bool] = True  # False: convolutions too narrow for the short way of networks/winograd.py
    batch_pixels: ClassVar[int] = 0  # frames are encoded together up to so many pixels; 0: always one by one
    memory_class: ClassVar[type[MemoryEntry]]  # what `memorise` returns; saved sessions are read back with it
    weights_id: str = ""  # tells these weights from others; set by what read them from a file
    config: Any = None  # what it was built with: a dataclass, or names and values; None = nothing can be chosen
    in_bfloat16: bool = False  # whether parts of it compute in bfloat16 (see `use_bfloat16`)

    def plain_config(self) -> dict[str, Any]:
        """`config` as plain data, for checkpoints."""
        return asdict(self.config) if is_dataclass(self.config) else dict(self.config or {})

    def configure(self, *, score_foreground: str | None = None, flex_attention: bool | None = None) -> None:
        """Settings of a run that only some networks have; the others ignore them, and `None` changes nothing.

        `score_foreground`: what the R-score takes for foreground (networks/reliability.py); `flex_attention`: attention
        through PyTorch's flex attention where it runs (networks/flex_transfer.py).
        """
        return

    def use_bfloat16(self) -> None:
        """Compute the parts that bear it in bfloat16 from now on, for good; by default there are none."""
        return

    @abc.abstractmethod
    def encode_frame(self, image: Tensor) -> FrameFeatures:
        """`image` 1 x 3 x H x W, RGB normalised with `image_mean`/`image_std` -> what depends on this frame alone."""

    def encode_frames(self, images: Tensor) -> list[FrameFeatures]:
        """B x 3 x H x W -> the features of each frame, as `encode_frame` gives them but for the last digits: one batch
        where that is faster (see `batch_pixels`), by default one after the other."""
        return [self.encode_frame(image[None]) for image in images]

    @abc.abstractmethod
    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        """Segment the annotated frame from its interaction planes.

        `image` 1 x 3 x H x W; `planes` O x 3 x H x W in [0, 1]: previous mask (0.5 = none yet), positive scribbles,
        negative scribbles (spec section 2).
        """

    @abc.abstractmethod
    def memorise(self, features: FrameFeatures, interaction: Interaction) -> MemoryEntry:
        """Project one annotated frame once, so that every later frame can read it at no further cost."""

    def read(self, query: FrameFeatures, entry: MemoryEntry) -> MemoryEntry:
        """What the query frame takes from one annotated frame, in a form that `propagate` accepts in the entry's place.

        It depends on these two alone, so a caller may keep it for the rounds to come, in which the earlier annotated
        frames are the same.  The default is the entry itself: nothing is worth keeping.
        """
        return entry

    def compared(self, query: FrameFeatures, output: Propagation) -> FrameFeatures:
        """The query's features with what `propagate` found out by comparing it with its neighbour alone.

        For `propagate` in the query's place, with the same neighbour: a caller may keep it for the rounds to come.  The
        default is the features as they are: nothing is worth keeping.
        """
        return query

    def remember(self, features: FrameFeatures, output: Propagation, foreground: Tensor) -> MemoryEntry | None:
        """A propagated frame as memory for the frames that follow it, or `None` (the default).

        `features` are that frame's, `output` is what `propagate` made of it; `foreground` O x 1 x H x W in [0, 1]: its
        settled masks, after aggregation and blending.  `propagate` gets such entries last.
        """
        return None

    @abc.abstractmethod
    def propagate(
        self,
        query: FrameFeatures,
        neighbour: FrameFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[MemoryEntry],
    ) -> Propagation:
        """Segment the query frame.

        `neighbour_foreground` O x 1 x H x W in [0, 1]: the objects on the frame propagated just before; `memory` at
        least one entry (or what `read` made of it), all with the same O objects in the same order.
        """


def aggregate(foreground: Tensor, *, epsilon: float = 1e-7) -> Tensor:
    """Merge independent object probabilities into one distribution per pixel (spec section 3, aggregation).

    `foreground` O x 1 x H x W (or O x H x W) in [0, 1] -> (1 + O) x H x W, channel 0 the background; sums to 1 over
    channels.  Computed in float32 whatever the input's precision: log(p / (1 - p)) has no meaning in half precision.
    """
    p = foreground.float()
    p = p[:, 0] if p.dim() == 4 else p  # O x H x W
    background = torch.prod(1 - p, dim=0, keepdim=True)  # 1 x H x W
    p = torch.cat([background, p]).clamp(epsilon, 1 - epsilon)  # (1 + O) x H x W
    return torch.softmax(torch.log(p / (1 - p)), dim=0)
