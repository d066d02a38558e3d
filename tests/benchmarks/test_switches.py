"""Every alternative that is measured can be run, and segments as the default does."""

from __future__ import annotations

import pytest

from tests.benchmarks.switches import run_switches


@pytest.mark.parametrize(("objects", "annotated_frames", "alternatives"), [(2, 1, 6), (1, 2, 1)])
def test_every_switch_runs_and_gives_the_same_masks(objects: int, annotated_frames: int, alternatives: int) -> None:
    found = list(run_switches("compact", 48, 80, objects, frames=2, repeats=1, annotated_frames=annotated_frames))
    assert len(found) >= alternatives
    for switch in found:
        assert switch.first > 0 and switch.later_processor > 0
        assert switch.same_pixels > 0.95, switch.name
