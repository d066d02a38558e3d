"""The networks and sessions that the benchmarks run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dataset_torch.errors import UserError
from libs.checkpoints import Checkpoint, load_network, network_from
from libs.device import computes_bfloat16
from libs.published_names import our_name
from libs.segmenter import Segmenter, SegmenterOptions
from libs.session import MemoryRecord, Session
from libs.storage import Prediction
from networks.inference import prepare_for_inference
from networks.interface import GuidedNetwork
from tests.benchmarks.scenes import Discs
from tests.golden import published_weights

ARCHITECTURES = ("resnet50", "compact")


@cache
def published_state() -> dict[str, Tensor]:
    """The published network's weights under our names: those of the golden recipe, on which time does not depend."""
    return {our_name(name) or name: tensor for name, tensor in published_weights().items()}


def unprepared(architecture: str) -> GuidedNetwork:
    """The network as it is loaded, before anything is folded."""
    if architecture == "compact":
        try:
            return load_network("compact")
        except UserError:  # not shipped with this copy: time does not depend on the weights
            from networks.compact import CompactGIS

            return CompactGIS().eval()
    return network_from(Checkpoint(Path("golden"), "resnet50", {}, published_state(), {}, published=True))


@cache
def prepared(architecture: str) -> GuidedNetwork:
    """The network as the evaluations and the app use it."""
    return prepare_for_inference(unprepared(architecture), bfloat16=computes_bfloat16(torch.device("cpu")))


def segmenter_of(network: GuidedNetwork, **changes: object) -> Segmenter:
    """A segmenter that works at the frames' own size, unless told otherwise."""
    return Segmenter(network, options=SegmenterOptions.for_network(network, **{"short_side": None, **changes}))


def repeat_memory(session: Session, annotated_frames: int) -> None:
    """Let the one annotated frame stand `annotated_frames` times in the memory, as if it was annotated again so often.

    Each is a memory entry of its own, as after so many rounds.  What that costs does not depend on the contents, and no
    time goes into further interactions.
    """
    first = session.state.memory[0]
    session.state.memory = [first, *(another_entry(first) for _ in range(annotated_frames - 1))]


def another_entry(record: MemoryRecord) -> MemoryRecord:
    """The same contents as a new annotation: nothing that was read from the old one counts for it."""
    return replace(record, entry=record.entry.map(Tensor.clone))


def repeat_objects(session: Session, objects: int) -> None:
    """Let a session's objects stand for more of them, without the interactions that those would need."""
    state = session.state
    own = list(state.object_ids)
    rows = [index % len(own) for index in range(objects)]
    ids = tuple(range(1, objects + 1))
    state.memory = [MemoryRecord(m.frame, ids, m.entry.select_objects(rows)) for m in state.memory]
    frame, prediction = next(iter(state.predictions.items()))
    probabilities = prediction.unpack()
    spread = probabilities[[0, *(1 + row for row in rows)]]
    state.object_ids = ids
    state.predictions[frame] = Prediction.pack(spread / spread.sum(dim=0), ids, "float32")


def annotated_session(segmenter: Segmenter, frames: Discs, objects: int) -> Session:
    """A session whose frame 0 is annotated, with this many objects."""
    session = segmenter.open(frames, object_ids=range(1, frames.objects + 1))
    segmenter.annotate(session, frames.strokes(0))
    if objects != frames.objects:
        repeat_objects(session, objects)
    return session


def shared_session(segmenter: Segmenter, like: Session) -> Session:
    """Another segmenter's session in the same state; only usable if both networks make the same memory."""
    session = segmenter.open(like.frames)
    session.restore(replace(like.snapshot()))
    return session
