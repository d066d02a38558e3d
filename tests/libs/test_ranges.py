"""Ranges, blending weights and memory selection against the golden figures and by hand."""

import pytest

from libs.ranges import Leg, blending_weight, frame_range, neighbouring_annotations, round_legs, select_memory
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


def test_without_crossings_a_round_is_the_published_range():
    for case in UTILS["prop_list"]:
        now, rest = case["now"], {"num_frames": case["num_frames"], "proportion": case["proportion"]}
        span = frame_range(case["annotated"], now, **rest)
        for side, frames in (("backward", span.backward), ("forward", span.forward)):
            assert round_legs(case["annotated"], now, side=side, crossable={*range(999)}, **rest) == (Leg(now, frames),)


def test_a_round_goes_on_behind_annotated_frames():
    annotated = [2, 5, 9, 7]
    legs = round_legs(annotated, 7, 12, "forward", crossings=1, crossable={2, 5, 9})
    assert legs == (Leg(7, (8,), 9), Leg(9, (10, 11))) and legs[0].visits == (8, 9)
    assert round_legs(annotated, 7, 12, "backward", crossings=1, crossable={2, 5}) == (Leg(7, (6,), 5), Leg(5, (4, 3)))
    far = round_legs(annotated, 7, 12, "backward", crossings=9, crossable={2, 5})
    assert far == (Leg(7, (6,), 5), Leg(5, (4, 3), 2), Leg(2, (1, 0)))
    assert round_legs(annotated, 7, 12, "backward", crossings=9, crossable={2}) == (Leg(7, (6,)),)


def test_a_leg_that_crosses_is_not_cut_and_limits_end_the_round():
    whole = round_legs([0, 100], 100, 150, "backward", proportion=0.5, crossings=1, crossable={0})
    assert whole == (Leg(100, tuple(range(99, 0, -1)), 0), Leg(0, ()))
    assert len(round_legs([0, 100], 100, 150, "backward", proportion=0.5)[0].frames) == 50
    for first in (3, 1):  # a frame of the leg is left out, then the annotated frame itself
        legs = round_legs([0, 5], 5, 9, "backward", crossings=1, crossable={0}, within=lambda f, low=first: f >= low)
        assert legs == (Leg(5, tuple(range(4, first - 1, -1))),)
    assert round_legs([4, 5], 5, 6, "backward", crossings=1, crossable={4}) == (Leg(5, (), 4), Leg(4, (3, 2, 1, 0)))
