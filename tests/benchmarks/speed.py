"""Both networks against each other's parts, and the published one against its plain transcription."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from libs.segmenter import Segmenter
from libs.session import Session
from networks.compact.network import CompactGIS
from tests.benchmarks.measure import PARTS, PartClock, PeakMemory, Stopwatch, Timing
from tests.benchmarks.plain import PlainNetwork, PlainSession
from tests.benchmarks.scenes import Discs
from tests.benchmarks.subjects import (
    annotated_session,
    another_entry,
    prepared,
    published_state,
    repeat_memory,
    repeat_objects,
    segmenter_of,
)

SIZES = ((240, 432), (480, 854))
COPIED_OBJECTS = 3  # more objects than this are copies of so many, unless everything is asked for


def size_of(height: int, width: int, short_side: int | None) -> str:
    """Such as `240x432`, or `240x432 at 288` if the network works on it at a shorter side of 288."""
    return f"{height}x{width}" + ("" if short_side is None else f" at {short_side}")


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
    short_side: int | None = None  # working size; None = the frames' own

    @property
    def name(self) -> str:
        """Such as `resnet50 480x854 3 objects 1 annotated`."""
        size = size_of(self.height, self.width, self.short_side)
        return f"{self.architecture} {size} {self.objects} objects {self.annotated_frames} annotated"


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
    """Our side of a case: one session that is propagated over the same frames again and again.

    Every run that is not the first of its memory is the next round: its newest annotated frame is a new one, which
    nothing is known of; of the others, what was read in the run before is kept as far as the segmenter keeps it.
    """

    def __init__(self, segmenter: Segmenter, session: Session, frames: int):
        self.segmenter, self.session, self.frames = segmenter, session, frames

    def run(self, *, cached: bool, clock: PartClock | None = None) -> Timing:
        """Propagate frames 1 .. `frames` and give the time per frame."""
        memory = self.session.state.memory
        memory[-1] = another_entry(memory[-1])
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

    def __init__(self, frames: Discs, count: int):
        self.clock, self.count = PartClock(), count
        network = PlainNetwork(published_state(), part=self.clock.part)
        self.session = PlainSession(network, frames, range(1, frames.objects + 1))
        self.session.begin(frames.strokes(0))

    def run(self) -> Timing:
        """Propagate frames 1 .. `count`."""
        self.session.turn()
        with Stopwatch() as watch:
            for frame in range(1, self.count + 1):
                self.session.step(frame)
        return watch.timing.per(self.count)


@dataclass
class Scene:
    """What the rows of one network, size and number of objects share: the annotated frame, ours and plain."""

    ours: Runner
    plain: PlainRunner | None
    annotate: float
    peak_megabytes: float


def prepare(case: Case, *, complete: bool, like: Scene | None) -> Scene:
    """Annotate frame 0.

    Without `complete`, objects beyond three are copies of those of `like`, a scene with three (the work is the same),
    and the plain transcription, which computes one object after the other, is that scene's.
    """
    segmenter = segmenter_of(prepared(case.architecture), short_side=case.short_side)
    with PeakMemory() as memory:
        if like is not None and not complete:
            frames, annotate, plain = like.ours.session.frames, like.annotate, like.plain
            session = segmenter.open(frames)
            session.restore(like.ours.session.snapshot())
            repeat_objects(session, case.objects)
        else:
            frames = Discs(case.frames + 1, case.height, case.width, case.objects)
            with Stopwatch() as watch:
                session = annotated_session(segmenter, frames, case.objects)
            annotate, plain = watch.timing.wall, None
        ours = Runner(segmenter, session, case.frames)
        ours.run(cached=False)  # warm: weights are transformed and memory is laid out in the first pass
    if plain is None and case.plain and case.architecture == "resnet50":
        plain = PlainRunner(frames, case.frames)
    return Scene(ours, plain, annotate, memory.megabytes)


def run_case(case: Case, scene: Scene) -> Result:
    """Measure one row.  Ours and plain take turns, so that what else the machine does falls on both."""
    ours, plain = scene.ours, scene.plain
    result = Result(case, annotate=scene.annotate, peak_megabytes=scene.peak_megabytes)
    repeat_memory(ours.session, case.annotated_frames)
    if plain is not None:
        plain.session.memory = plain.session.memory[:1] * case.annotated_frames
        plain.clock.seconds.clear()
    first, later, slow = [], [], []
    clocks = PartClock(), PartClock()
    for _ in range(case.repeats):
        first.append(ours.run(cached=False, clock=clocks[0]))
        if plain is not None:
            slow.append(plain.run())
        later.append(ours.run(cached=True, clock=clocks[1]))
    runs = case.repeats * case.frames
    result.first, result.later = Timing.median(first), Timing.median(later)
    result.parts_first, result.parts_later = (_per(clock, runs, 1) for clock in clocks)
    if plain is not None:
        scale = case.objects / len(plain.session.object_ids)
        result.plain = Timing.median(slow).per(1 / scale)
        result.parts_plain = _per(plain.clock, runs, scale)
        if scale == 1:
            result.agreement = float(np.mean(ours.session.masks() == plain.session.masks()))
    return result


def _per(clock: PartClock, runs: int, scale: float) -> dict[str, float]:
    return {name: seconds * scale / runs for name, seconds in clock.seconds.items()}


def run_cases(wanted: Iterable[Case], *, complete: bool = False) -> Iterator[Result]:
    """All rows.  What rows share is prepared once; rows of one scene must follow each other."""
    scene: Scene | None = None
    three: Scene | None = None
    key = None
    for case in wanted:
        video = (case.architecture, case.height, case.width, case.short_side)
        if key != (*video, case.objects):
            if key is None or key[:4] != video:
                three = None
            scene = prepare(case, complete=complete, like=three if case.objects > COPIED_OBJECTS else None)
            three = scene if case.objects == COPIED_OBJECTS else three
            key = (*video, case.objects)
        assert scene is not None
        yield run_case(case, scene)


def cases(*, quick: bool) -> list[Case]:
    """The rows, those with a floor first."""
    small, large = SIZES
    published = [
        Case("resnet50", *size, objects, annotated, repeats=1 if quick or size == small else 3)
        for size in ((large,) if quick else (large, small))
        for objects in (1, 3, 10)
        for annotated in (1, 3)
    ]
    repeats = 2 if quick else 3
    own_size = CompactGIS.preferred_short_side
    compact = [
        Case("compact", *size, objects, annotated, frames=frames, repeats=repeats, short_side=short_side)
        for size, frames, short_side in (
            ((small, 10, own_size),) if quick else ((small, 10, own_size), (small, 10, None), (large, 4, None))
        )
        for objects in (1, 3, 5, 10)
        for annotated in (1, 3)
    ]
    return published + compact
