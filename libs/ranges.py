"""Which frames a round visits, with what blending weight, and which annotated frames each of them reads.

Pure functions of frame numbers (spec: method.md, sections 3 and 4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["backward", "forward"]


@dataclass(frozen=True)
class FrameRange:
    """The frames of one round, in the order of visits; the annotated frame itself belongs to neither list."""

    backward: tuple[int, ...]
    forward: tuple[int, ...]


def neighbouring_annotations(annotated_frames: Sequence[int], now: int) -> tuple[int | None, int | None]:
    """The nearest annotated frames before and after `now` in time; entries equal to `now` do not count."""
    before = [f for f in annotated_frames if f < now]
    after = [f for f in annotated_frames if f > now]
    return (max(before) if before else None), (min(after) if after else None)


def frame_range(annotated_frames: Sequence[int], now: int, num_frames: int, *, proportion: float = 0.99) -> FrameRange:
    """Frames to visit after annotating `now`: up to the neighbouring annotated frames, or the video's borders.

    A side that ends at another annotated frame is cut to `int(n * proportion + 0.5)` of the n frames between the two;
    a side that ends at the border is never cut (spec section 4; the published proportion is 0.99).
    """
    earlier, later = neighbouring_annotations(annotated_frames, now)
    backward = list(range(now - 1, -1 if earlier is None else earlier, -1))
    forward = list(range(now + 1, num_frames if later is None else later))
    if earlier is not None:
        backward = backward[: int(len(backward) * proportion + 0.5)]
    if later is not None:
        forward = forward[: int(len(forward) * proportion + 0.5)]
    return FrameRange(tuple(backward), tuple(forward))


@dataclass(frozen=True)
class Leg:
    """One direction's way from an annotated frame to the next one or to the video's border."""

    start: int
    frames: tuple[int, ...]  # in the order of visits, without `start`
    crossed: int | None = None  # the annotated frame right behind `frames`, if the round looks at it again and goes on

    @property
    def visits(self) -> tuple[int, ...]:
        """All frames of this leg that are segmented, in order."""
        return self.frames if self.crossed is None else (*self.frames, self.crossed)


def round_legs(
    annotated_frames: Sequence[int],
    now: int,
    num_frames: int,
    side: Direction,
    *,
    proportion: float = 0.99,
    crossings: int = 0,
    crossable: Collection[int] = (),
    within: Callable[[int], bool] = lambda frame: True,
) -> tuple[Leg, ...]:
    """The way of a round in one direction: the range of `frame_range`, then further ones behind annotated frames.

    At most `crossings` annotated frames are crossed, only those in `crossable`.  A leg that crosses is never cut short.
    Only frames that `within` accepts are visited; where one is left out, nothing behind the leg is visited.
    """
    legs: list[Leg] = []
    start = now
    for left in range(crossings, -1, -1):
        other = neighbouring_annotations(annotated_frames, start)[side == "forward"]
        crossed = other if left and other in crossable else None
        span = frame_range(annotated_frames, start, num_frames, proportion=proportion if crossed is None else 1.0)
        frames = span.backward if side == "backward" else span.forward
        kept = tuple(f for f in frames if within(f))
        if crossed is not None and (len(kept) < len(frames) or not within(crossed)):
            crossed = None
        legs.append(Leg(start, kept, crossed))
        if crossed is None:
            break
        start = crossed
    return tuple(legs)


def blending_weight(annotated_frames: Sequence[int], now: int, frame: int) -> float:
    """Weight of the new probabilities at `frame`, the rest goes to what earlier rounds left (spec section 4).

    Falls linearly from 1 at `now` to 0.5 at the neighbouring annotated frame on that side; 1 if there is none.
    """
    earlier, later = neighbouring_annotations(annotated_frames, now)
    other = earlier if frame < now else later
    return 1.0 if other is None else 0.5 + 0.5 * abs(frame - other) / abs(now - other)


def select_memory(annotated_frames: Sequence[int], query: int, *, limit: int = 3) -> list[int]:
    """Positions (in order of annotation) of the annotated frames that a query frame reads, in the order of use.

    All if there are at most `limit`; otherwise the first annotated one and the `limit - 1` others nearest in time to
    `query`, ties by order of annotation (spec section 3, reliability attention).  `limit` 0 means no limit.
    """
    positions = list(range(len(annotated_frames)))
    if not limit or len(positions) <= limit:
        return positions
    nearest = sorted(positions[1:], key=lambda p: abs(annotated_frames[p] - query))  # stable: ties keep their order
    return [0, *nearest[: limit - 1]]
