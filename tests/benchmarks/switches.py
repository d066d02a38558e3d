"""Each optimisation on and off, in the same run, and what it changes in the masks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from libs.device import bears_another_thread
from libs.metrics import j_and_f
from libs.segmenter import Segmenter
from libs.session import MemoryRecord, Session
from networks.inference import prepare_for_inference
from networks.interface import FrameFeatures
from tests.benchmarks.measure import Timing
from tests.benchmarks.scenes import Discs
from tests.benchmarks.speed import Runner
from tests.benchmarks.subjects import (
    annotated_session,
    prepared,
    repeat_memory,
    segmenter_of,
    shared_session,
    unprepared,
)


@dataclass(frozen=True)
class Switch:
    """One optimisation turned off, or an option turned on."""

    name: str
    first: float  # time per frame relative to the default, round 1; above 1 = the default is faster
    later: float  # the same in later rounds
    later_processor: float  # the same in processor time, which other programs disturb less
    same_pixels: float  # share of pixels with the default's label
    j_and_f: float  # mean J&F of its masks measured against the default's; 1 = the same


class ReadAgain(Segmenter):
    """Every frame reads all annotated frames anew in every round."""

    def _readings(
        self, session: Session, frame: int, query: FrameFeatures, records: list[MemoryRecord]
    ) -> dict[int, MemoryRecord]:
        return {id(record): record for record in records}


class OneByOne(ReadAgain):
    """The objects in separate calls, as if nothing was shared and nothing was a batch."""

    def _object_groups(
        self, session: Session, memory: Sequence[MemoryRecord]
    ) -> list[tuple[list[int], list[MemoryRecord]]]:
        return [([row], list(memory)) for row in range(len(session.object_ids))]


def alternatives(architecture: str) -> Iterator[tuple[str, Callable[[], Segmenter]]]:
    """Name and maker of every segmenter that differs from the default in one thing."""
    network = prepared(architecture)
    yield (
        "nothing prepared (no folding, no channels-last, no fast convolutions)",
        lambda: segmenter_of(unprepared(architecture)),
    )
    yield (
        "direct convolutions",
        lambda: segmenter_of(prepare_for_inference(unprepared(architecture), fast_convolutions=False)),
    )
    if architecture == "resnet50":
        yield "dense attention (P x P)", lambda: segmenter_of(_dense(network))
    yield "no feature cache", lambda: segmenter_of(network, feature_budget_bytes=0)
    yield "objects one by one", lambda: OneByOne(network, options=segmenter_of(network).options)
    if bears_another_thread(next(network.parameters()).device):  # otherwise nothing is read ahead anyway
        yield "no reading ahead", lambda: segmenter_of(network, frames_ahead=0)
    yield "probabilities kept in float32", lambda: segmenter_of(network, storage="float32")
    yield (
        "with gradients' bookkeeping (no inference mode)",
        lambda: NoInferenceMode(network, options=segmenter_of(network).options),
    )
    yield (
        "bfloat16 arithmetic",
        lambda: Segmenter(network, options=segmenter_of(network).options, precision=torch.bfloat16),
    )


def several_annotated(architecture: str) -> Iterator[tuple[str, Callable[[], Segmenter]]]:
    """The same for what shows with several annotated frames only."""
    network = prepared(architecture)
    yield (
        "what was read from annotated frames is not kept over rounds",
        lambda: ReadAgain(network, options=segmenter_of(network).options),
    )


class NoInferenceMode(Segmenter):
    """`torch.no_grad` only."""

    @contextmanager
    def computing(self) -> Iterator[None]:
        with torch.no_grad():
            yield


def _dense(network: nn.Module) -> nn.Module:
    dense = copy.copy(network)
    dense._modules = dict(network._modules)
    dense.attention = copy.copy(network.attention)
    dense.attention.block_elements = 1 << 62
    return dense


def run_switches(
    architecture: str,
    height: int,
    width: int,
    objects: int,
    *,
    frames: int,
    repeats: int,
    annotated_frames: int = 1,
) -> Iterator[Switch]:
    """Measure every alternative against the default; they take turns."""
    video = Discs(frames + 1, height, width, objects)
    segmenter = segmenter_of(prepared(architecture))
    session = annotated_session(segmenter, video, objects)
    repeat_memory(session, annotated_frames)
    for name, make in (alternatives if annotated_frames == 1 else several_annotated)(architecture):
        other = make()
        theirs = Runner(other, shared_session(other, session), frames)
        ours = Runner(segmenter, session, frames)
        times: dict[str, list[Timing]] = {key: [] for key in ("first", "later", "other first", "other later")}
        theirs.run(cached=False)
        for _ in range(repeats):
            times["first"].append(ours.run(cached=False))
            times["other first"].append(theirs.run(cached=False))
            times["later"].append(ours.run(cached=True))
            times["other later"].append(_later(theirs, name))
        median = {key: Timing.median(timings) for key, timings in times.items()}
        last = frames + 1
        default, masks = session.masks()[:last], theirs.session.masks()[:last]
        yield Switch(
            name,
            median["other first"].wall / median["first"].wall,
            median["other later"].wall / median["later"].wall,
            median["other later"].processor / median["later"].processor,
            float(np.mean(masks == default)),
            float(j_and_f(default, masks, session.object_ids)[2].mean()),
        )


def _later(runner: Runner, name: str) -> Timing:
    return runner.run(cached=name != "no feature cache")
