from __future__ import annotations

import numpy as np
import pytest

from libs.app.proposals import propose

SCORES = np.array([0.9, 0.1, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7, 0.4, 0.8, 0.65])  # frames 0 to 10


@pytest.mark.parametrize(
    ("worked_on", "expected"),
    [
        ([], 1),  # the lowest score
        ([0], 8),  # frame 10 is the farthest, so frames from 5 on
        ([0, 10], 3),  # frame 5 is the farthest, so frames 3 to 7
        ([0, 5, 10], 1),  # 2, 3, 7 and 8 are the farthest, two away, so frames one away may be proposed
        ([0, 8, 10], 2),  # 4 is the farthest: 2 to 6
    ],
)
def test_proposals_keep_half_of_the_largest_distance_from_the_frames_worked_on(worked_on, expected):
    assert propose("RS1", SCORES, worked_on) == [expected]


def test_without_spreading_the_lowest_score_decides():
    assert propose("RS1", SCORES, [0], spread=False) == [1]


def test_there_are_four_candidates_even_if_near_ones_must_be_among_them():
    assert propose("RS4", SCORES, [0]) == [8, 5, 10, 1]
    assert len(set(propose("RS4", SCORES, [3, 9]))) == 4


def test_when_every_frame_was_worked_on_the_worst_is_proposed_again():
    assert propose("RS1", SCORES, range(11)) == [1]
