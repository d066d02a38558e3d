"""Both networks against each other's parts, and the published one against its plain transcription."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from libs.segmenter import Segmenter
from libs.session import Session
from tests.benchmarks.measure import PARTS, PartClock, PeakMemory, Stopwatch, Timing
from tests.benchmarks.plain import PlainNetwork, PlainSession
from tests.benchmarks.scenes import Discs
from tests.benchmarks.subjects import annotated_session, prepared, published_state, repeat_memory, segmenter_of

SIZES = ((240, 432), (480, 854))
INTERACTED_OBJECTS = 3  # more objects than this are copies, unless everything is asked for


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    architecture: str
    height: int
    width: int
    objects: int
    annotated_frames: int
    frames: int = 1  # frames propagated per measurement
    repeats: int = 2  # measurements of each kind, taken in turn
    plain: bool = True  # compare with the plain transcription (published network only)


@dataclass
class Result:
    """Times per propagated frame, in seconds; `Timing` holds clock and processor time."""

    case: Case
    first: Timing | None = None  # round 1: nothing cached
    later: Timing | None = None  # later rounds: frame features cached
    plain: Timing | None = None
    annotate: float = 0.0  # seconds of the annotated frame, clock
    parts_first: dict[str, float] = field(default_factory=dict)
    parts_later: dict[str, float] = field(default_factory=dict)
    parts_plain: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None  # share of pixels with the plain transcription's label
    peak_megabytes: float = 0.0  # memory beyond the loaded networks, highest


class Runner:
    """Our side of a case: one session that is propagated over the same frames again and again."""

    def __init__(self, segmenter: Segmenter, session: Session, frames: int):
        self.segmenter, self.session, self.frames = segmenter, session, frames

    def run(self, *, cached: bool, clock: PartClock | None = None) -> Timing:
        """Propagate frames 1 .. `frames` and give the time per frame."""
        if not cached:
            self.session.features.clear()
            self.segmenter.features(self.session, 0)  # the annotated frame is encoded before the propagation begins
        network = self.segmenter.network
        names = PARTS[network.architecture] if clock is not None else ()
        with (clock or PartClock()).watch(network, names), Stopwatch() as watch:
            for _ in self.segmenter.propagate(self.session, first=1, last=self.frames):
                pass
        return watch.timing.per(self.frames)


class PlainRunner:
    """The same with the plain transcription."""

    def __init__(self, frames: Discs, count: int, annotated_frames: int):
        self.clock, self.count = PartClock(), count
        network = PlainNetwork(published_state(), part=self.clock.part)
        self.session = PlainSession(network, frames, range(1, frames.objects + 1))
        self.session.begin(frames.strokes(0))
        self.session.memory *= annotated_frames
        self.clock.seconds.clear()

    def run(self) -> Timing:
        """Propagate frames 1 .. `count`."""
        self.session.turn()
        with Stopwatch() as watch:
            for frame in range(1, self.count + 1):
                self.session.step(frame)
        return watch.timing.per(self.count)


def run_case(case: Case, *, complete: bool = False) -> Result:
    """Measure one row.  Ours and plain take turns, so that what else the machine does falls on both.

    Without `complete`, objects beyond three are copies of the first three (the work is the same), and the plain
    transcription, which computes one object after the other, is run with three and its time scaled.
    """
    interacted = case.objects if complete else min(case.objects, INTERACTED_OBJECTS)
    frames = Discs(case.frames + 1, case.height, case.width, interacted)
    segmenter = segmenter_of(prepared(case.architecture))
    result = Result(case)
    with PeakMemory() as memory:
        with Stopwatch() as watch:
            session = annotated_session(segmenter, frames, case.objects)
        result.annotate = watch.timing.wall
        repeat_memory(session, case.annotated_frames)
        ours = Runner(segmenter, session, case.frames)
        ours.run(cached=False)  # warm: weights are transformed and memory is laid out in the first pass
    result.peak_megabytes = memory.megabytes
    plain = None
    if case.plain and case.architecture == "resnet50":
        plain = PlainRunner(frames, case.frames, case.annotated_frames)
    first, later, slow = Timing(0, 0), Timing(0, 0), Timing(0, 0)
    clocks = PartClock(), PartClock()
    for _ in range(case.repeats):
        first += ours.run(cached=False, clock=clocks[0])
        if plain is not None:
            slow += plain.run()
        later += ours.run(cached=True, clock=clocks[1])
    count, runs = case.repeats, case.repeats * case.frames
    result.first, result.later = first.per(count), later.per(count)
    result.parts_first, result.parts_later = (_per(clock, runs, 1) for clock in clocks)
    if plain is not None:
        scale = case.objects / interacted
        result.plain = Timing(slow.wall * scale, slow.processor * scale).per(count)
        result.parts_plain = _per(plain.clock, runs, scale)
        if case.objects == interacted:
            last = slice(0, case.frames + 1)
            result.agreement = float(np.mean(session.masks()[last] == plain.session.masks()[last]))
    return result


def _per(clock: PartClock, runs: int, scale: float) -> dict[str, float]:
    return {name: seconds * scale / runs for name, seconds in clock.seconds.items()}


def cases(*, quick: bool) -> list[Case]:
    """The rows, cheap ones first."""
    rows = [
        Case("compact", *size, objects, annotated, frames=5 if quick else 20, repeats=2 if quick else 5)
        for size in SIZES
        for objects in (1, 3, 5, 10)
        for annotated in (1, 3)
    ]
    rows += [
        Case("resnet50", *size, objects, annotated, repeats=1 if quick else 3, plain=not quick or size[0] == 480)
        for size in SIZES
        for objects in (1, 3, 10)
        for annotated in (1, 3)
        if not quick or size[0] == 480
    ]
    return rows
