"""Ranges, blending weights and memory selection against the golden figures and by hand."""

import pytest

from libs.ranges import blending_weight, frame_range, neighbouring_annotations, select_memory
from tests.golden import golden_json

UTILS = golden_json("utils.json")


def test_ranges_equal_the_golden_ones():
    for case in UTILS["prop_list"]:
        now = case["now"]
        span = frame_range(case["annotated"], now, case["num_frames"], proportion=case["proportion"])
        assert [now, *span.backward, now, *span.forward] == case["out"]


def test_blending_weights_equal_the_golden_ones():
    for case in UTILS["alpha"]:
        annotated = case["annotated"]
        for frame, _, weight in case["frame_flag_alpha"]:
            assert blending_weight(annotated, annotated[-1], frame) == pytest.approx(weight, abs=1e-12)


def test_a_side_that_ends_at_the_border_is_never_cut():
    span = frame_range([5], 5, 200, proportion=0.5)
    assert span.backward == (4, 3, 2, 1, 0) and len(span.forward) == 194


def test_a_side_that_ends_at_an_annotated_frame_is_cut_by_the_proportion():
    # 199 frames between 0 and 200: int(199 * .99 + .5) = 197 of them
    assert len(frame_range([0, 200], 200, 201).backward) == 197
    assert len(frame_range([0, 200], 200, 201, proportion=1.0).backward) == 199


def test_neighbours_count_whatever_their_round():
    assert neighbouring_annotations([9, 2, 5, 5], 5) == (2, 9)
    assert neighbouring_annotations([5], 5) == (None, None)


def test_memory_is_the_first_and_the_two_nearest():
    assert select_memory([10, 3, 25], 20) == [0, 1, 2]
    assert select_memory([10, 3, 25, 17], 20) == [0, 3, 2]
    assert select_memory([10, 3, 25, 17, 21], 20) == [0, 4, 3]
    assert select_memory([4, 8, 2, 8, 6], 5) == [0, 4, 1]  # 8 and 2 tie at distance 3: the earlier annotated first
    assert select_memory([4, 8, 2, 8, 6], 5, limit=0) == [0, 1, 2, 3, 4]
