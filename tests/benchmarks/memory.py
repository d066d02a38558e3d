"""Memory of long sessions, measured with a stand-in that keeps what the published network keeps and computes nothing.

What the network itself needs while it works is measured apart, with a session of a few frames; it does not depend on
the session's length.  Every measurement has a process of its own, so that none finds memory that another one freed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from libs.device import keep_freed_memory
from libs.segmenter import Segmenter
from libs.session import Session
from networks.interface import FrameFeatures, GuidedNetwork, Interaction, MemoryEntry, Propagation
from networks.network import GISFrame, GISMemory, GISReading
from tests.benchmarks.measure import PeakMemory
from tests.benchmarks.scenes import Discs
from tests.benchmarks.speed import Runner
from tests.benchmarks.subjects import annotated_session, prepared, repeat_memory, segmenter_of

BLOB_NOISE = 0.03  # packed as the compact network's predictions of a real video: 0.34 MB a frame for three objects
WORKING_MAPS = 45  # float32 maps of every object that blending, packing and the allocator take at once (measured)


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

    def read(self, query: FrameFeatures, entry: MemoryEntry) -> GISReading:
        assert isinstance(entry, GISMemory)
        return GISReading(entry.object_feature.flatten(2).clone(), torch.ones(1, entry.keys.shape[-1]))

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
    features_megabytes: float  # frame features and readings in the cache
    budget_megabytes: float  # what such a session may take
    kind: str = "session"


@dataclass(frozen=True)
class Working:
    """What the published network needs while it works, beyond what the session keeps and the loaded weights."""

    objects: int
    height: int
    width: int
    megabytes: float
    kind: str = "network"


def _packed_bytes(session: Session) -> int:
    tables = (session.state.predictions, session.state.base_predictions)
    return sum({id(p): len(p.data) for table in tables for p in table.values()}.values())


def run_session(frames: int, height: int, width: int, objects: int, *, rounds: int) -> Footprint:
    """Play rounds over the whole video with the default settings, and read all masks after the last."""
    segmenter = Segmenter(StandIn())
    video = Discs(frames, height, width, objects)
    with PeakMemory() as memory:
        session = segmenter.open(video, object_ids=range(1, objects + 1))
        for number in range(rounds):
            # The ends of the video: every round visits all frames.
            segmenter.annotate(session, video.strokes(0 if number % 2 == 0 else frames - 1))
            for _ in segmenter.propagate(session):
                pass
        masks = session.masks()
    packed, features = _packed_bytes(session), session.features.bytes
    entries = sum(record.entry.nbytes for record in session.state.memory)
    padded = session.geometry.padded_size
    working = 200e6 + WORKING_MAPS * 4 * (1 + objects) * padded[0] * padded[1]
    budget = segmenter.options.feature_budget_bytes + packed + masks.nbytes + entries + working
    return Footprint(
        frames,
        height,
        width,
        objects,
        rounds,
        memory.megabytes,
        masks.nbytes / 1e6,
        packed / 1e6,
        features / 1e6,
        budget / 1e6,
    )


def run_network(objects: int, height: int, width: int) -> Working:
    """Annotate a frame with up to three objects (more are copies of them) and propagate with three annotated frames."""
    segmenter = segmenter_of(prepared("resnet50"))
    video = Discs(2, height, width, min(objects, 3))
    with PeakMemory() as memory:
        session = annotated_session(segmenter, video, objects)
        repeat_memory(session, 3)
        Runner(segmenter, session, 1).run(cached=False)
    kept = sum(record.entry.nbytes for record in session.state.memory) + session.features.bytes + _packed_bytes(session)
    return Working(objects, height, width, memory.megabytes - kept / 1e6)


def run_memory(*, quick: bool) -> Iterator[Footprint | Working]:
    """The sessions that the table names, each in a process of its own, two at a time."""
    plan = ["network 3 480 854", "session 1000 480 854 3 2", "network 20 480 854", "session 200 480 854 20 2"]
    plan.append("session 10000 240 432 1 1")
    if quick:
        plan = ["network 3 240 432", "session 60 240 432 3 2", "session 10 240 432 20 2"]
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(_in_a_process, plan)


def _in_a_process(line: str) -> Footprint | Working:
    command = [sys.executable, "-m", "tests.benchmarks.memory", *line.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    return (Footprint if values["kind"] == "session" else Working)(**values)


def main() -> None:
    """One measurement: `session frames height width objects rounds` or `network objects height width`."""
    kind, *numbers = sys.argv[1:]
    keep_freed_memory()  # as every script does
    if kind == "network":
        result: Footprint | Working = run_network(*map(int, numbers))
    else:
        *size, rounds = map(int, numbers)
        result = run_session(*size, rounds=rounds)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
