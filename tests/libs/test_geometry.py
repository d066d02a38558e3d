"""Padding, resizing, normalising."""

import cv2
import numpy as np
import pytest
import torch

from dataset_torch.errors import UserError
from libs.geometry import Geometry
from tests.golden import golden_json


def test_padding_equals_the_golden_figures():
    for case in golden_json("utils.json")["apply_pad"]:
        g = Geometry.of(case["h"], case["w"], pad_always=True)
        assert [[g.top, g.bottom], [g.left, g.right]] == case["info"] and list(g.padded_size) == case["padded"]


def test_padding_only_where_needed():
    g = Geometry.of(64, 96)
    assert g.padded_size == (64, 96) and Geometry.of(64, 96, pad_always=True).padded_size == (96, 128)


def test_the_shorter_side_decides():
    g = Geometry.of(720, 1280, short_side=480)
    assert (g.working_height, g.working_width) == (480, 853)
    g = Geometry.of(1280, 720, short_side=480)
    assert (g.working_height, g.working_width) == (853, 480)
    for height, width, working in ((100, 178, (60, 106)), (178, 100, (106, 60))):  # 106.8 is cut off, not rounded
        g = Geometry.of(height, width, short_side=60)
        assert (g.working_height, g.working_width) == working


def test_a_strip_is_refused_where_it_would_become_a_mile_long():
    assert Geometry.of(16, 5000, short_side=32, stretch=True).padded_size == (32, 9984)
    with pytest.raises(UserError, match="5000x16.*--short-side"):
        Geometry.of(16, 5000, short_side=288, stretch=True)


def test_stretching_leaves_nothing_to_pad():
    for size, expected in {
        (240, 432): (288, 512),
        (480, 854): (288, 512),
        (854, 480): (512, 288),
        (5, 5): (288, 288),
    }.items():
        g = Geometry.of(*size, short_side=288, stretch=True)
        assert (g.working_height, g.working_width) == g.padded_size == expected
        image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        assert g.to_input(image, (0, 0, 0), (1, 1, 1)).shape == (1, 3, *expected)
        assert g.to_original(torch.rand(2, *expected)).shape == (2, *size)
    assert Geometry.of(240, 432, short_side=288, stretch=True, multiple=8).padded_size == (288, 520)
    assert Geometry.of(30, 41, stretch=True).padded_size == (32, 64)  # the video's own size is padded


def test_input_is_reflected_and_normalised():
    g = Geometry.of(2, 32, multiple=4)
    image = np.zeros((2, 32, 3), np.uint8)
    image[0] = 255
    tensor = g.to_input(image, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert tensor.shape == (1, 3, 4, 32) and tensor[0, 0, :, 0].tolist() == [-1, 1, -1, 1]


def test_pictures_are_averaged_when_they_shrink_and_cubic_when_they_grow():
    board = np.indices((8, 8)).sum(0) % 2 * 200
    image = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    small, large = Geometry.of(8, 8, short_side=4), Geometry.of(8, 8, short_side=16)
    assert (small.resize_image(image) == 100).all()
    for g, method in ((small, "cubic"), (large, "area"), (large, "cubic")):
        size = (g.working_width, g.working_height)
        expected = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        np.testing.assert_array_equal(g.resize_image(image, method=method), expected)


def test_output_pixels_are_areas_not_points():
    g = Geometry(1, 4, 1, 2, 0, 0, 0, 0)
    assert g.to_original(torch.tensor([[[0.0, 1.0]]])).tolist() == [[[0, 0.25, 0.75, 1]]]
    assert g.to_original(torch.tensor([[[0.0, 1.0]]]), method="nearest").tolist() == [[[0, 0, 1, 1]]]


def test_crop_undoes_pad():
    g = Geometry.of(30, 41)
    array = np.random.default_rng(0).random((2, 30, 41)).astype(np.float32)
    np.testing.assert_array_equal(g.crop(torch.from_numpy(g.pad(array))).numpy(), array)


def test_output_has_the_original_size():
    g = Geometry.of(100, 150, short_side=50)
    for method in ("bilinear", "nearest"):
        assert g.to_original(torch.rand(3, *g.padded_size), method=method).shape == (3, 100, 150)


def test_impossible_sizes():
    with pytest.raises(UserError, match="sides must be"):
        Geometry.of(0, 10)
    with pytest.raises(UserError, match="sides must be"):
        Geometry.of(10, 100000)
