"""Frame proposals against the golden figures and by hand."""

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.guidance import INTERACTIVE, recommend, spread_lowest
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
