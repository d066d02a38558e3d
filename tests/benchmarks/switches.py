"""Each optimisation on and off, in the same run, and what it changes in the masks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from libs.metrics import j_and_f
from libs.segmenter import Segmenter
from libs.session import MemoryRecord, Session
from networks.inference import prepare_for_inference
from tests.benchmarks.measure import Timing
from tests.benchmarks.scenes import Discs
from tests.benchmarks.speed import Runner
from tests.benchmarks.subjects import annotated_session, prepared, segmenter_of, shared_session, unprepared


@dataclass(frozen=True)
class Switch:
    """One optimisation turned off, or an option turned on."""

    name: str
    first: float  # time per frame relative to the default, round 1; above 1 = the default is faster
    later: float  # the same in later rounds
    same_pixels: float  # share of pixels with the default's label
    j_and_f: float  # mean J&F of its masks measured against the default's; 1 = the same


class OneByOne(Segmenter):
    """The objects in separate calls, as if nothing was shared and nothing was a batch."""

    def _object_groups(self, session: Session) -> list[tuple[list[int], list[MemoryRecord]]]:
        memory = session.state.memory
        return [([row], memory) for row in range(len(session.object_ids))]


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
    architecture: str, height: int, width: int, objects: int, *, frames: int, repeats: int
) -> list[Switch]:
    """Measure every alternative against the default; they take turns."""
    video = Discs(frames + 1, height, width, objects)
    segmenter = segmenter_of(prepared(architecture))
    session = annotated_session(segmenter, video, objects)
    results = []
    for name, make in alternatives(architecture):
        other = make()
        theirs = Runner(other, shared_session(other, session), frames)
        ours = Runner(segmenter, session, frames)
        totals = {key: Timing(0, 0) for key in ("first", "later", "other first", "other later")}
        theirs.run(cached=False)
        for _ in range(repeats):
            totals["first"] += ours.run(cached=False)
            totals["other first"] += theirs.run(cached=False)
            totals["later"] += ours.run(cached=True)
            totals["other later"] += _later(theirs, name)
        last = frames + 1
        default, masks = session.masks()[:last], theirs.session.masks()[:last]
        results.append(
            Switch(
                name,
                totals["other first"].wall / totals["first"].wall,
                totals["other later"].wall / totals["later"].wall,
                float(np.mean(masks == default)),
                float(j_and_f(default, masks, session.object_ids)[2].mean()),
            )
        )
    return results


def _later(runner: Runner, name: str) -> Timing:
    return runner.run(cached=name != "no feature cache")
