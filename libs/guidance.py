"""Which frame to look at next: the policies RS1 and RS4, published or by expected help, and a plain `k`-frame proposal
(spec section 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataset_torch.errors import UserError

POLICIES = ("wo_RS", "RS1", "RS4")


@dataclass(frozen=True)
class GuidanceOptions:
    """How frames are proposed; the defaults are the published behaviour."""

    exclude_annotated: bool = False  # the published run may propose a frame again that was just annotated
    symmetric_exclusion: bool = False  # published RS4 excludes one frame less after a proposal than before it
    minimum_distance: int = 0  # frames kept free around a proposal whatever F is; published 0 (short videos: none)
    reach: float = 0.0  # share of F over which an annotation helps (`expected_help`); published 0: scores alone


PUBLISHED = GuidanceOptions()
INTERACTIVE = GuidanceOptions(exclude_annotated=True, symmetric_exclusion=True, minimum_distance=1, reach=0.1)

# Frames.  An annotation helps as far as masks stay good on the way, which does not grow with the video.  Six real
# sequences of 40 to 90 frames, with this instead of a tenth of the frames: rank correlation of a round's gain and the
# help expected .366 to .377, area over eight rounds with RS1 .853 to .858, with RS4 .855 to .853.
LONGEST_REACH = 3


def expected_help(scores: Sequence[float], annotated_frames: Collection[int], reach: float) -> np.ndarray:
    """What annotating each frame would mend, float64 F, up to a factor: all doubt near it that is not yet cared for.

    An annotation of frame f helps frame g by exp(-|f - g| / reach); what g may still win is its doubt 1 - score, times
    1 - exp(-d / reach) at distance d from the nearest annotated frame.  Frames without a score (nan) are all doubt.

    The lowest score alone picks neighbours of frames just annotated, bad for the same reason, and ends of the video,
    from which help goes one way only.  How well either foretells what a round wins is in the studies' page.
    """
    values = np.asarray(scores, dtype=np.float64)
    num_frames = len(values)
    doubt = np.clip(np.where(np.isnan(values), 1.0, 1.0 - values), 0.0, 1.0)
    if annotated_frames:
        distance = np.abs(np.arange(num_frames)[:, None] - np.array(sorted(annotated_frames))).min(axis=1)  # F
        doubt = doubt * (1 - np.exp(-distance / reach))
    # The sum over all frames, from the left and from the right: each needs its neighbour's sum alone.
    decay = float(np.exp(-1 / reach))
    left, right = doubt.copy(), doubt.copy()
    for f in range(1, num_frames):
        left[f] += decay * left[f - 1]
        right[-1 - f] += decay * right[-f]
    return left + right - doubt


def help_reach(options: GuidanceOptions, num_frames: int) -> float:
    """The `reach` of `expected_help` in frames, at least 1."""
    return min(max(options.reach * num_frames, 1.0), float(LONGEST_REACH))


def spread_lowest(
    scores: Sequence[float],
    count: int,
    *,
    options: GuidanceOptions = PUBLISHED,
    annotated_frames: Collection[int] = (),
) -> list[int]:
    """At most `count` frames of lowest score that keep a distance of about F/20 from each other.

    Walks the frames from the lowest score (equal scores: lower frame first; frames without a score, nan, come first:
    nothing is known of them); on taking `f` excludes `int(f - F/20 + .5) .. int(f + F/20 + .5) - 1`.  There may be
    fewer than `count`.  With `exclude_annotated`, annotated frames are proposed only when nothing else is left.  With a
    `reach` the same walk goes from the highest `expected_help` instead.
    """
    values = np.asarray(scores, dtype=np.float64)
    num_frames = len(values)
    if options.reach > 0:
        values = -expected_help(values, annotated_frames, help_reach(options, num_frames))
    spacing = num_frames / 20
    order = np.argsort(np.where(np.isnan(values), -np.inf, values), kind="stable")
    blocked = set(annotated_frames) if options.exclude_annotated else set()
    chosen: list[int] = []
    excluded: set[int] = set()
    for f in map(int, order):
        if len(chosen) == count:
            break
        if f in excluded or f in blocked:
            continue
        chosen.append(f)
        if options.symmetric_exclusion:
            radius = max(int(spacing + 0.5), options.minimum_distance)
            excluded.update(range(f - radius, f + radius + 1))
        else:
            excluded.update(range(int(f - spacing + 0.5), int(f + spacing + 0.5)))
            excluded.update(range(f - options.minimum_distance, f + options.minimum_distance + 1))
    if not chosen and blocked:
        return spread_lowest(scores, count, options=replace(PUBLISHED, symmetric_exclusion=options.symmetric_exclusion))
    return chosen


def recommend(
    policy: str,
    scores: Sequence[float],
    *,
    count: int | None = None,
    options: GuidanceOptions = PUBLISHED,
    annotated_frames: Collection[int] = (),
) -> list[int] | None:
    """Frames that the policy proposes, best first; `None` for `wo_RS`, which leaves the choice to the user or robot.

    `RS1` one frame, `RS4` up to four, `count` overrides the number.  Raises `UserError` for an unknown policy.
    """
    if policy not in POLICIES:
        raise UserError(f"unknown guidance {policy!r}. Choose from {', '.join(POLICIES)}.")
    if policy == "wo_RS":
        return None
    number = count if count is not None else {"RS1": 1, "RS4": 4}[policy]
    return spread_lowest(scores, number, options=options, annotated_frames=annotated_frames)
