"""Which frame to look at next: the published policies RS1 and RS4, and a plain `k`-frame proposal (spec section 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from dataset_torch.errors import UserError

POLICIES = ("wo_RS", "RS1", "RS4")


@dataclass(frozen=True)
class GuidanceOptions:
    """How frames are proposed; the defaults are the published behaviour."""

    exclude_annotated: bool = False  # the published run may propose a frame again that was just annotated
    symmetric_exclusion: bool = False  # published RS4 excludes one frame less after a proposal than before it
    minimum_distance: int = 0  # frames kept free around a proposal whatever F is; published 0 (short videos: none)


PUBLISHED = GuidanceOptions()
INTERACTIVE = GuidanceOptions(exclude_annotated=True, symmetric_exclusion=True, minimum_distance=1)


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
    fewer than `count`.  With `exclude_annotated`, annotated frames are proposed only when nothing else is left.
    """
    values = np.asarray(scores, dtype=np.float64)
    num_frames = len(values)
    reach = num_frames / 20
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
            radius = max(int(reach + 0.5), options.minimum_distance)
            excluded.update(range(f - radius, f + radius + 1))
        else:
            excluded.update(range(int(f - reach + 0.5), int(f + reach + 0.5)))
            excluded.update(range(f - options.minimum_distance, f + options.minimum_distance + 1))
    if not chosen and blocked:
        return spread_lowest(scores, count, options=GuidanceOptions(False, options.symmetric_exclusion, 0))
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
