"""Memory of long sessions, measured with a stand-in that keeps what the published network keeps and computes nothing.

What the network itself needs while it works is in the speed table (`peak`); it does not depend on the session's length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from libs.segmenter import Segmenter
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation
from networks.network import GISFrame, GISMemory
from tests.benchmarks.measure import PeakMemory
from tests.benchmarks.scenes import Discs

BLOB_NOISE = 0.03  # packed as the compact network's predictions of a real video: 0.34 MB a frame for three objects


class StandIn(GuidedNetwork):
    """Features and memories of the published network's sizes; masks are soft blobs with a little noise."""

    architecture: ClassVar[str] = "resnet50"
    pad_always: ClassVar[bool] = True
    memory_class: ClassVar[type[MemoryEntry]] = GISMemory

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.calls = 0

    def encode_frame(self, image: Tensor) -> GISFrame:
        height, width = image.shape[-2] // 8, image.shape[-1] // 8

        def filled(channels: int, *size: int) -> Tensor:
            return torch.full((1, channels, *size), 0.5)

        return GISFrame(
            keys=filled(128, height * width),
            self_transfer=filled(128, height * width),
            intersection=filled(128, height, width),
            neighbour=filled(64, height, width),
            query=filled(256, height, width),
            skip=filled(128, 2 * height, 2 * width),
        )

    def interact(self, image: Tensor, features: FrameFeatures, planes: Tensor) -> Interaction:
        height, width = image.shape[-2] // 8, image.shape[-1] // 8
        return Interaction(4 * planes[:, 1:2] - 2, torch.full((len(planes), 256, height, width), 0.5))

    def memorise(self, features: FrameFeatures, interaction: Interaction) -> GISMemory:
        assert isinstance(features, GISFrame)
        return GISMemory(features.keys, features.keys.clone(), interaction.object_feature)

    def propagate(
        self,
        query: FrameFeatures,
        neighbour: FrameFeatures,
        neighbour_foreground: Tensor,
        memory: Sequence[MemoryEntry],
    ) -> Propagation:
        objects, _, height, width = neighbour_foreground.shape
        self.calls += 1
        generator = torch.Generator().manual_seed(self.calls)
        coarse = torch.randn(objects, 1, height // 4, width // 4, generator=generator) * BLOB_NOISE - 0.5
        for index in range(objects):
            row = (index * 37 + self.calls) % (height // 8)
            coarse[index, :, row : row + height // 32, width // 16 : width // 8] = 0.5
        logit = F.interpolate(10 * coarse, size=(height, width), mode="bilinear", align_corners=True)
        score = torch.tensor(0.5)
        return Propagation(torch.sigmoid(logit), score, score.view(1, 1, 1, 1), logit)


@dataclass(frozen=True)
class Footprint:
    """One long session."""

    frames: int
    height: int
    width: int
    objects: int
    rounds: int
    peak_megabytes: float  # highest memory beyond what was in use before the session was opened
    masks_megabytes: float  # of that, the masks of all frames, as an evaluation asks for them
    predictions_megabytes: float  # packed probabilities of all frames, of this round and the one before
    features_megabytes: float  # frame features in the cache


def run_session(frames: int, height: int, width: int, objects: int, *, rounds: int) -> Footprint:
    """Play rounds over the whole video with the default settings, and read all masks after each."""
    segmenter = Segmenter(StandIn())
    video = Discs(frames, height, width, objects)
    with PeakMemory() as memory:
        session = segmenter.open(video, object_ids=range(1, objects + 1))
        for number in range(rounds):
            segmenter.annotate(session, video.strokes(number * frames // rounds))
            for _ in segmenter.propagate(session):
                pass
            masks = session.masks()
        state = session.state
        packed = {id(p): len(p.data) for p in (*state.predictions.values(), *state.base_predictions.values())}
    return Footprint(
        frames,
        height,
        width,
        objects,
        rounds,
        memory.megabytes,
        masks.nbytes / 1e6,
        sum(packed.values()) / 1e6,
        session.features.bytes / 1e6,
    )


def run_memory(*, quick: bool) -> Iterator[Footprint]:
    """The sessions that the table names."""
    if quick:
        yield run_session(120, 480, 854, 3, rounds=2)
        yield run_session(60, 240, 432, 20, rounds=2)
        return
    yield run_session(1000, 480, 854, 3, rounds=2)
    yield run_session(200, 480, 854, 20, rounds=2)
    yield run_session(10_000, 240, 432, 1, rounds=1)
