from __future__ import annotations

import numpy as np
import pytest

from libs.app.proposals import propose

SCORES = np.array([0.9, 0.1, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7, 0.4, 0.8, 0.65])  # frames 0 to 10


@pytest.mark.parametrize(
    ("worked_on", "expected"),
    [
        ([], 2),  # lowest with its neighbours, not by itself
        ([0], 3),  # frame 1 is lower, but has just been helped, and 2 a little
        ([2], 5),  # the lowest scores are beside frame 2; most doubt that nothing was done about is around 5
        ([2, 5], 8),
        ([2, 5, 8], 1),  # nowhere is far any more: the lowest scores decide
    ],
)
def test_proposals_go_to_doubt_that_nothing_was_done_about(worked_on, expected):
    assert propose("RS1", SCORES, worked_on) == [expected]


def test_by_score_alone_the_lowest_score_decides():
    assert propose("RS1", SCORES, [0], by_help=False) == [1]


def test_there_are_four_candidates_even_if_near_ones_must_be_among_them():
    for worked_on in ([0], [3, 9]):
        four = propose("RS4", SCORES, worked_on)
        assert len(set(four)) == 4 and not set(four) & set(worked_on)


def test_when_every_frame_was_worked_on_the_worst_is_proposed_again():
    assert propose("RS1", SCORES, range(11)) == [1]
