"""The fast robot against the framework's, stroke by stroke."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from libs.scribble_robot import FastRobot, correct_frame, scribble_robot

# isort: split
from davisinteractive.robot import InteractiveScribblesRobot


def blobs(rng, shape, size):
    return (cv2.blur(rng.random(shape), (size, size)) * 40 % 3).astype(np.uint8)


def lines(strokes):
    return [(stroke["object_id"], stroke["path"]) for stroke in strokes]


@pytest.mark.parametrize("seed", range(8))
def test_strokes_equal_the_framework(seed):
    rng = np.random.default_rng(seed)
    small = int(rng.integers(8, 60)), int(rng.integers(8, 60))
    truth, found = (blobs(rng, small, size) for size in (7, 9))
    if seed % 2:  # larger regions, so that the kernels grow
        truth, found = (cv2.resize(m, (180, 120), interpolation=cv2.INTER_NEAREST) for m in (truth, found))
    expected, drawn = (correct_frame(scribble_robot(min_nb_nodes=2, fast=f), truth, found, 2) for f in (False, True))
    assert expected
    assert lines(drawn) == lines(expected)


@pytest.mark.parametrize("area", (100, 120, 140))
def test_smallest_kernels_equal_the_framework(area):
    """Errors of 100 to 144 pixels have kernels of three pixels without a centre, which the two libraries treat
    differently at the first pixel of the image."""
    truth = np.zeros((40, 60), np.uint8)
    truth[5 : 5 + area // 10, 5:15] = 1
    expected, drawn = (correct_frame(scribble_robot(fast=fast), truth, 0 * truth, 1) for fast in (False, True))
    assert lines(drawn) == lines(expected)


def test_a_frame_of_a_video_equals_the_framework():
    rng = np.random.default_rng(3)
    truth, found = (np.stack([blobs(rng, (50, 70), 9) for _ in range(3)]) for _ in range(2))
    results = [
        robot(min_nb_nodes=2).interact("video", found, truth, nb_objects=2, frame=1)
        for robot in (InteractiveScribblesRobot, FastRobot)
    ]
    assert [lines(strokes) for strokes in results[0]["scribbles"]] == [lines(s) for s in results[1]["scribbles"]]
    assert [bool(strokes) for strokes in results[1]["scribbles"]] == [False, True, False]
    assert results[1]["sequence"] == "video"


def test_without_a_frame_it_looks_at_all_of_them():
    truth = np.zeros((3, 40, 40), np.uint8)
    truth[:, 10:30, 10:30] = 1
    found = truth.copy()
    found[2] = 0
    drawn = FastRobot().interact("video", found, truth)
    assert [bool(strokes) for strokes in drawn["scribbles"]] == [False, False, True]


def test_nothing_wrong_gives_nothing():
    truth = np.ones((10, 10), np.uint8)
    assert correct_frame(scribble_robot(), truth, truth, 1) == []


def test_void_is_not_corrected():
    truth = np.full((30, 30), 255, np.uint8)
    assert correct_frame(scribble_robot(), truth, 0 * truth, 1) == []
