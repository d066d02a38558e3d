"""How the cost grows with frames, rounds, objects, annotated frames and resolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.measure import Stopwatch
from tests.benchmarks.scenes import Discs
from tests.benchmarks.speed import Case, run_cases
from tests.benchmarks.subjects import prepared, segmenter_of


@dataclass(frozen=True)
class Point:
    """One measurement of one curve."""

    curve: str
    x: str
    first: float | None  # seconds per frame, round 1
    later: float | None  # seconds per frame, later rounds


def over_frames(counts: tuple[int, ...], *, height: int, width: int) -> Iterator[Point]:
    """Whole rounds of videos of different lengths; per frame the cost should stay the same."""
    segmenter = segmenter_of(prepared("compact"))
    for count in counts:
        frames = Discs(count, height, width, 1)
        session = segmenter.open(frames, object_ids=[1])
        seconds = []
        for annotated in (0, count - 1):
            with Stopwatch() as watch:
                segmenter.annotate(session, frames.strokes(annotated))
                for _ in segmenter.propagate(session):
                    pass
            seconds.append(watch.timing.wall / count)
        yield Point("frames of the video (compact)", str(count), *seconds)


def over_rounds(rounds: int, *, height: int, width: int) -> Iterator[Point]:
    """Many rounds on one frame: the cost per frame should stay flat once three annotated frames are read."""
    frames = Discs(12, height, width, 1)
    segmenter = segmenter_of(prepared("compact"), repeat_memory=True)
    session = segmenter.open(frames, object_ids=[1])
    for number in range(1, rounds + 1):
        segmenter.annotate(session, frames.strokes(0))
        with Stopwatch() as watch:
            for _ in segmenter.propagate(session):
                pass
        seconds = watch.timing.wall / 11
        yield Point("rounds (compact)", str(number), *((seconds, None) if number == 1 else (None, seconds)))


def over_cases(*, quick: bool) -> Iterator[Point]:
    """Objects, annotated frames and resolution."""
    frames, repeats = (2, 1) if quick else (5, 2)

    def point(curve: str, x: str, case: Case) -> Point:
        result = next(run_cases([case], complete=True))
        assert result.first is not None and result.later is not None
        return Point(curve, x, result.first.wall, result.later.wall)

    for objects in (1, 2, 5, 10, 20):
        case = Case("compact", 240, 432, objects, 1, frames=frames, repeats=repeats)
        yield point("objects (compact, 240x432)", str(objects), case)
    for annotated in (1, 2, 3, 6):
        case = Case("compact", 240, 432, 1, annotated, frames=frames, repeats=repeats)
        yield point("annotated frames (compact, 240x432; at most 3 are read)", str(annotated), case)
        if annotated <= 3:
            case = Case("resnet50", 240, 432, 1, annotated, plain=False)
            yield point("annotated frames (published, 240x432; later rounds read the newest)", str(annotated), case)
    for height, width in ((120, 216), (240, 432), (360, 640), (480, 854)):
        case = Case("compact", height, width, 1, 1, frames=frames, repeats=repeats)
        yield point("resolution (compact)", f"{height}x{width}", case)
        if height <= 240 or not quick:
            case = Case("resnet50", height, width, 1, 1, plain=False)
            yield point("resolution (published)", f"{height}x{width}", case)


def run_scaling(*, quick: bool) -> Iterator[Point]:
    """All curves."""
    size = {"height": 120, "width": 216} if quick else {"height": 240, "width": 432}
    yield from over_frames((5, 10) if quick else (15, 30, 60, 120), **size)
    yield from over_rounds(3 if quick else 8, **size)
    yield from over_cases(quick=quick)
