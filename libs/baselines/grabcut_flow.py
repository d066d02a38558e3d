"""Baseline: GrabCut on the annotated frame, carried to the other frames by DIS optical flow.  No learning at all.

GrabCut: Rother et al., SIGGRAPH 2004.  DIS flow: Kroeger et al., ECCV 2016.  Both as OpenCV has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from libs.baselines.confidence import confidence, hard_logit
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation

ITERATIONS = 5  # of GrabCut; more changes nothing on most frames
BOX_MARGIN = 0.2  # without a previous mask the object is looked for this far around its strokes (share of their extent)
LEAST_MARGIN = 12  # pixels


@dataclass(frozen=True)
class FlowFeatures(FrameFeatures):
    """The frame itself."""

    colour: Tensor  # uint8 1 x 3 x H x W, RGB
    grey: Tensor  # uint8 1 x 1 x H x W


@dataclass(frozen=True)
class FlowEntry(MemoryEntry):
    """The annotated frame's masks; the flow does not look back at them, it starts from them."""

    OBJECT_FIELDS: ClassVar[tuple[str, ...]] = ("mask",)

    mask: Tensor  # O x 1 x H x W in [0, 1]


class GrabCutFlow(GuidedNetwork):
    """Colour models from the strokes and the previous mask, then warping from frame to frame.  On the CPU only."""

    architecture: ClassVar[str] = "grabcut-flow"
    pad_multiple: ClassVar[int] = 8
    image_mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    image_std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    preferred_short_side: ClassVar[int | None] = 240
    negatives_everywhere: ClassVar[bool] = True
    memory_class: ClassVar[type[MemoryEntry]] = FlowEntry

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("none", torch.nn.Parameter(torch.zeros(1)))  # a device to ask for; never used
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def encode_frame(self, image: Tensor) -> FlowFeatures:
        """`image` 1 x 3 x H x W, RGB in 0..1."""
        pixels = (image[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()  # H x W x 3
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return FlowFeatures(torch.from_numpy(pixels).permute(2, 0, 1)[None], torch.from_numpy(grey)[None, None])

    def interact(self, image: Tensor, features: FlowFeatures, planes: Tensor) -> Interaction:
        """One GrabCut per object; where it has nothing to learn colours from, the previous mask stays."""
        pixels = np.ascontiguousarray(features.colour[0].permute(1, 2, 0).numpy()[:, :, ::-1])  # H x W x 3, BGR
        values = planes.numpy()
        masks = np.stack([cut_out(pixels, *one) for one in with_rivals(values)])  # O x H x W
        mask = torch.from_numpy(masks)[:, None].float()
        return Interaction(mask_logit=hard_logit(mask), object_feature=mask[:, :, ::8, ::8])

    def memorise(self, features: FlowFeatures, interaction: Interaction) -> FlowEntry:
        return FlowEntry(interaction.foreground)

    def propagate(
        self,
        query: FlowFeatures,
        neighbour: FlowFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[FlowEntry],
    ) -> Propagation:
        """The neighbour's masks, pulled along the flow from the query to the neighbour."""
        foreground = neighbour_foreground
        if query is not neighbour:
            flow = self._flow.calc(query.grey[0, 0].numpy(), neighbour.grey[0, 0].numpy(), None)  # H x W x 2
            foreground = torch.from_numpy(warp_masks(foreground[:, 0].float().numpy(), flow))[:, None]
        score, sure = confidence(foreground)
        return Propagation(foreground, score, sure[:, :, ::8, ::8].clamp_min(1e-6), foreground)


def with_rivals(planes: np.ndarray) -> np.ndarray:
    """O x 3 x H x W planes with every other object's strokes among the negative ones."""
    out = planes.copy()
    for row in range(len(planes)):
        rivals = np.delete(planes[:, 1], row, axis=0)
        if len(rivals):
            out[row, 2] = np.maximum(out[row, 2], rivals.max(axis=0))
    return out


def cut_out(pixels: np.ndarray, previous: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """GrabCut of one object: bool H x W.

    `pixels` uint8 H x W x 3 BGR; `previous`, `positive`, `negative` float H x W, the interaction planes (spec section
    2; previous is 0.5 everywhere before the first mask).  Strokes are certain; the previous mask is a guess; without
    one, everything well outside of the strokes' box is certainly background.
    """
    stroked, refused = positive > 0.5, negative > 0.5
    first = bool((previous == 0.5).all())
    if first:
        labels = np.full(previous.shape, cv2.GC_BGD, np.uint8)
        labels[box_around(stroked)] = cv2.GC_PR_FGD
    else:
        labels = np.where(previous > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[refused] = cv2.GC_BGD
    labels[stroked & ~refused] = cv2.GC_FGD
    foreground = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    guess = np.zeros_like(stroked) if first and not stroked.any() else foreground
    # GrabCut wants enough pixels of both kinds to fit five colours to each.
    if min(np.count_nonzero(foreground), np.count_nonzero(~foreground)) < 10 or not guess.any():
        return guess
    cv2.setRNGSeed(0)  # its clustering is random
    cv2.grabCut(pixels, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def box_around(stroked: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the strokes' bounding box and a margin; empty without strokes.  `stroked` bool H x W."""
    left, top, width, height = cv2.boundingRect(stroked.astype(np.uint8))
    if not width:
        return slice(0, 0), slice(0, 0)
    margin = max(LEAST_MARGIN, round(BOX_MARGIN * max(height, width)))
    return (
        slice(max(top - margin, 0), top + height + margin),
        slice(max(left - margin, 0), left + width + margin),
    )


def warp_masks(masks: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`masks` float32 O x H x W sampled at every pixel's position plus `flow` (H x W x 2, x and y in pixels)."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + flow[..., 0], y + flow[..., 1]
    return np.stack(
        [cv2.remap(m, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for m in np.ascontiguousarray(masks)]
    )
