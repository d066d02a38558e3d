"""Which frames the page proposes to look at next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from libs.guidance import INTERACTIVE, recommend


def propose(policy: str, scores: Sequence[float], worked_on: Collection[int], *, by_help: bool = True) -> list[int]:
    """Frames to look at, best first (`RS1` one, `RS4` up to four), those that the user worked on last.

    `scores` has one for every frame, nan where there is none.  With `by_help` the frames come first whose annotation
    would help most (`libs.guidance.expected_help`).  Without, the lowest scores decide alone, as in the published
    study.
    """
    options = INTERACTIVE if by_help else replace(INTERACTIVE, reach=0.0)
    return recommend(policy, scores, options=options, annotated_frames=worked_on) or []
