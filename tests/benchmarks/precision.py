"""Half precision and `torch.compile`: what they cost in masks and bring in time, on a real network and real scenes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from config import SAMPLE
from dataset_torch.davis import DavisSequence, open_davis
from libs.interactions import FrameAnnotation, annotations_from_davis
from libs.metrics import j_and_f
from libs.segmenter import Segmenter, SegmenterOptions
from networks.compiled import compile_network
from networks.inference import prepare_for_inference
from tests.benchmarks.measure import Stopwatch, Timing
from tests.benchmarks.subjects import prepared, unprepared


@dataclass(frozen=True)
class Precision:
    """One way to compute."""

    name: str
    j_and_f: float  # mean over objects and frames, against the ground truth
    changed: float  # share of pixels whose label differs from that in float32
    first: Timing  # per frame, round 1
    later: Timing  # per frame, the same frames again with their features cached
    warm_up: float  # seconds of a first pass, in which compilers work


def ways() -> Iterator[tuple[str, Callable[[], Segmenter]]]:
    """Name and maker, float32 first."""
    network = prepared("compact")
    options = SegmenterOptions.for_network(network)
    yield "float32", lambda: Segmenter(network, options=options)
    yield "bfloat16", lambda: Segmenter(network, options=options, precision=torch.bfloat16)
    if shutil.which("g++"):
        yield (
            "float32, torch.compile",
            lambda: Segmenter(compile_network(prepare_for_inference(unprepared("compact"))), options=options),
        )


def first_annotation(sequence: DavisSequence) -> FrameAnnotation:
    """The first of the scribbles that come with the sequence."""
    return annotations_from_davis(
        sequence.scribbles(1), object_ids=sequence.object_ids, num_frames=sequence.num_frames
    )[0]


def run_precision(*, frames: int | None = None) -> Iterator[Precision]:
    """Each way in turn on the sample's first sequence; `frames` limits how many are propagated."""
    dataset = open_davis(SAMPLE / "DAVIS", subset="val")
    sequence = dataset.sequences[0]
    annotation, truth = first_annotation(sequence), sequence.ground_truth()
    reference = None
    for name, make in ways():
        segmenter = make()
        last = None if frames is None else annotation.frame + frames
        timings: list[Timing] = []
        for passed in range(3):  # warming up, the first round, later rounds
            if passed < 2:
                session = segmenter.open(sequence.frames(), object_ids=sequence.object_ids)
                segmenter.annotate(session, annotation)
            count = len(segmenter.frames_to_visit(session, last=last))
            with Stopwatch() as watch:
                for _ in segmenter.propagate(session, last=last):
                    pass
            timings.append(watch.timing if passed == 0 else watch.timing.per(count))
        masks = session.masks()
        reference = masks if reference is None else reference
        quality = float(np.mean(j_and_f(truth, masks, sequence.object_ids)[2]))
        yield Precision(name, quality, float(np.mean(masks != reference)), timings[1], timings[2], timings[0].wall)
