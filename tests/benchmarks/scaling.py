"""How the cost grows with frames, rounds, objects, annotated frames and resolution."""

from __future__ import annotations

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


def over_frames(counts: tuple[int, ...], *, height: int, width: int) -> list[Point]:
    """Whole rounds of videos of different lengths; per frame the cost should stay the same."""
    points = []
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
        points.append(Point("frames of the video (compact)", str(count), *seconds))
    return points


def over_rounds(rounds: int, *, height: int, width: int) -> list[Point]:
    """Many rounds on one frame: the cost per frame should stay flat once three annotated frames are read."""
    frames = Discs(12, height, width, 1)
    segmenter = segmenter_of(prepared("compact"), repeat_memory=True)
    session = segmenter.open(frames, object_ids=[1])
    points = []
    for number in range(1, rounds + 1):
        segmenter.annotate(session, frames.strokes(0))
        with Stopwatch() as watch:
            for _ in segmenter.propagate(session):
                pass
        seconds = watch.timing.wall / 11
        points.append(Point("rounds (compact)", str(number), *((seconds, None) if number == 1 else (None, seconds))))
    return points


def over_cases(*, quick: bool) -> list[Point]:
    """Objects, annotated frames and resolution."""
    frames, repeats = (3, 2) if quick else (10, 4)
    points = []

    def add(curve: str, x: str, case: Case) -> None:
        result = next(run_cases([case], complete=True))
        assert result.first is not None and result.later is not None
        points.append(Point(curve, x, result.first.wall, result.later.wall))

    for objects in (1, 2, 5, 10, 20):
        case = Case("compact", 240, 432, objects, 1, frames=frames, repeats=repeats)
        add("objects (compact, 240x432)", str(objects), case)
    for annotated in (1, 2, 3, 6):
        case = Case("compact", 240, 432, 1, annotated, frames=frames, repeats=repeats)
        add("annotated frames (compact, 240x432; at most 3 are read)", str(annotated), case)
    for height, width in ((120, 216), (240, 432), (360, 640), (480, 854)):
        case = Case("compact", height, width, 1, 1, frames=frames, repeats=repeats)
        add("resolution (compact)", f"{height}x{width}", case)
        if height <= 240 or not quick:
            case = Case("resnet50", height, width, 1, 1, plain=False)
            add("resolution (published)", f"{height}x{width}", case)
    return points


def run_scaling(*, quick: bool) -> list[Point]:
    """All curves."""
    size = {"height": 120, "width": 216} if quick else {"height": 240, "width": 432}
    points = over_frames((15, 30, 60) if quick else (50, 100, 200, 400), **size)
    points += over_rounds(6 if quick else 12, **size)
    return points + over_cases(quick=quick)
