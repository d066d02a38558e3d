"""Frame proposals against the golden figures and by hand."""

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.guidance import INTERACTIVE, GuidanceOptions, expected_help, help_reach, recommend, spread_lowest
from tests.golden import golden_json


def test_proposals_equal_the_golden_ones():
    for case in golden_json("utils.json")["candidates"]:
        assert recommend("RS1", case["score"]) == case["RS1"]
        assert recommend("RS4", case["score"]) == case["RS4"]


def test_without_guidance_there_is_no_proposal():
    assert recommend("wo_RS", [0.1, 0.2]) is None
    with pytest.raises(UserError, match="wo_RS, RS1, RS4"):
        recommend("RS2", [0.1])


def test_published_exclusion_is_one_frame_short_after_a_proposal():
    # F = 40: taking 20 excludes int(18.5) .. int(22.5) - 1 = 18 .. 21, so 22 is free and 18 is not
    scores = np.ones(40)
    scores[[20, 18, 22]] = 0, 0.1, 0.2
    assert spread_lowest(scores, 2) == [20, 22]


def test_people_are_not_sent_back_to_annotated_frames():
    scores = [0.1, 0.2, 0.9, 0.8]
    assert spread_lowest(scores, 2, options=INTERACTIVE, annotated_frames={0}) == [1, 3]
    assert spread_lowest(scores, 1, options=INTERACTIVE, annotated_frames={0, 1, 2, 3}) == [0]


def test_frames_without_a_score_come_first():
    assert spread_lowest([0.3, float("nan"), 0.1], 1) == [1]


def test_equal_scores_lower_frame_first():
    assert spread_lowest([0.5] * 5, 3) == [0, 1, 2]


def help_by_hand(scores, annotated, reach):
    """The definition, frame by frame."""
    found = []
    for f in range(len(scores)):
        total = 0.0
        for g, score in enumerate(scores):
            distance = min((abs(g - a) for a in annotated), default=np.inf)
            total += np.exp(-abs(f - g) / reach) * (1 - np.exp(-distance / reach)) * (1 - score)
        found.append(total)
    return np.array(found)


@pytest.mark.parametrize("annotated", [set(), {0}, {7, 2}, set(range(12))])
@pytest.mark.parametrize("reach", [1.0, 2.5, 24.0])
def test_expected_help_is_all_doubt_nearby_that_is_not_cared_for(annotated, reach):
    scores = np.random.default_rng(3).random(12)
    np.testing.assert_allclose(
        expected_help(scores, annotated, reach), help_by_hand(scores, annotated, reach), rtol=1e-12, atol=1e-15
    )


def test_frames_without_a_score_are_all_doubt():
    scores = [0.9, 0.9, float("nan"), 0.9]
    np.testing.assert_allclose(expected_help(scores, set(), 1.0), expected_help([0.9, 0.9, 0, 0.9], set(), 1.0))


def test_people_are_sent_where_most_doubt_is_not_cared_for():
    # The lowest score is beside the annotated frame; a whole stretch further on is nearly as bad.
    scores = np.full(30, 0.95)
    scores[1], scores[18:25] = 0.1, 0.5
    assert recommend("RS1", scores, options=INTERACTIVE, annotated_frames={0}) == [21]
    alone = GuidanceOptions(exclude_annotated=True)
    assert recommend("RS1", scores, options=alone, annotated_frames={0}) == [1]
    four = recommend("RS4", scores, options=INTERACTIVE, annotated_frames={0})
    assert len(four) == 4 and min(abs(a - b) for a in four for b in four if a != b) > 2


def test_help_reaches_no_further_in_long_videos():
    scores = np.full(5000, 0.9)
    scores[4000:4020] = 0.2  # a short failure in a long video
    assert recommend("RS1", scores, options=INTERACTIVE, annotated_frames={100}) == [4009]
    assert [help_reach(INTERACTIVE, frames) for frames in (5, 24, 60, 5000)] == pytest.approx([1, 2.4, 3, 3])


def test_when_every_frame_was_annotated_proposals_still_keep_the_distance_to_both_sides():
    scores = np.full(60, 0.9)
    scores[[30, 33, 27, 40]] = 0.1, 0.2, 0.3, 0.4  # the published rule excludes 27 to 32 after 30, and so takes 33
    found = recommend("RS4", scores, options=INTERACTIVE, annotated_frames=set(range(60)))
    assert found[:2] == [30, 40] and len(found) == 4
    assert min(abs(a - b) for a in found for b in found if a != b) > 3
