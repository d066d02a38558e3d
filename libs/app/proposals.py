"""Which frames the page proposes to look at next."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from libs.guidance import INTERACTIVE, recommend


def propose(policy: str, scores: Sequence[float], worked_on: Collection[int], *, spread: bool = True) -> list[int]:
    """Frames by R-score, best first (`RS1` one, `RS4` up to four), those that the user worked on last.

    `scores` has one for every frame, nan where there is none.  With `spread`, no frame is proposed that is less than
    half as far from a frame worked on as the farthest one is: neighbours of a bad frame are bad for the same reason,
    and correcting one of them next teaches little.  Without, the lowest scores decide alone, as in the published study.
    """
    plain = recommend(policy, scores, options=INTERACTIVE, annotated_frames=worked_on) or []
    if not spread or not worked_on:
        return plain
    distance = np.abs(np.arange(len(scores))[:, None] - np.array(sorted(worked_on))).min(axis=1)
    near = set(np.flatnonzero(2 * distance < distance.max()).tolist()) | set(worked_on)
    far = recommend(policy, scores, options=INTERACTIVE, annotated_frames=near) or []
    return [*far, *(frame for frame in plain if frame not in far)][: max(len(plain), len(far))]
