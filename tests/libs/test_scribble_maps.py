"""Strokes as planes: by hand, and against the planes recorded in the golden run."""

import cv2
import numpy as np

from libs.interactions import Click, FrameAnnotation, Scribble
from libs.scribble_maps import draw_plane, interaction_planes, line_pixels, mask_core_planes, scribble_pixels
from tests.golden import FOLDER, golden_json


def test_lines_hold_both_ends_and_no_gaps():
    assert line_pixels(2, 3, 2, 3).tolist() == [[2, 3]]
    assert line_pixels(0, 0, 3, 0).tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert line_pixels(3, 3, 0, 0).tolist() == [[3, 3], [2, 2], [1, 1], [0, 0]]
    for end in ((7, 3), (-4, 9), (-8, -1)):
        pixels = line_pixels(0, 0, *end)
        assert pixels[-1].tolist() == list(end)
        assert np.abs(np.diff(pixels, axis=0)).max() == 1


def test_border_strokes_stay_at_their_border_unless_the_published_fault_is_asked_for():
    corner = Scribble(1, np.array([[0.0, 0.0]]))
    assert scribble_pixels(corner, 20, 30).tolist() == [[0, 0]]
    assert scribble_pixels(corner, 20, 30, wrap=True).tolist() == [[29, 19]]
    assert scribble_pixels(Scribble(1, np.array([[1.0, 1.0]])), 20, 30).tolist() == [[29, 19]]


def test_a_click_is_a_blurred_ellipse_of_seven_pixels():
    plane = draw_plane([], [Click(1, 10.5 / 40, 20.5 / 30)], 30, 40)
    point = np.zeros((30, 40), np.uint8)
    point[20, 10] = 1
    ellipse = cv2.dilate(point, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))).astype(np.float32)
    np.testing.assert_allclose(plane, cv2.GaussianBlur(ellipse, (5, 5), 6), atol=1e-6)
    assert plane[20, 10] == plane.max() and plane[20, 15] > 0 and plane[20, 16] == 0


def test_negative_strokes_count_inside_the_previous_mask_only():
    previous = np.zeros((20, 20), np.uint8)
    previous[:, :10] = 1
    given = [FrameAnnotation(0, (Scribble(0, np.array([[0.1, 0.5], [0.9, 0.5]])),))]
    planes = interaction_planes(given, [1], previous, 20, 20)
    assert planes.shape == (1, 3, 20, 20) and planes.dtype == np.float32
    assert planes[0, 2, :, :10].max() > 0 and planes[0, 2, :, 10:].max() == 0 and planes[0, 1].max() == 0
    everywhere = interaction_planes(given, [1], previous, 20, 20, negatives_everywhere=True)
    assert everywhere[0, 2, :, 10:].max() > 0
    first = interaction_planes(given, [1], None, 20, 20)
    assert (first[0, 0] == 0.5).all() and first[0, 2].max() == 0


def test_first_round_planes_equal_the_golden_ones():
    given = golden_json("e2e/wo_RS_J_scribbles.json")
    recorded = np.load(FOLDER / "e2e" / "wo_RS_J.npz")
    for sequence, (height, width) in {"gold-one": (120, 160), "gold-three": (100, 150), "gold-two": (96, 131)}.items():
        first = given[sequence]["rounds"][0]
        strokes = tuple(Scribble(line["object_id"], np.array(line["path"])) for line in first["lines"])
        expected = recorded[f"{sequence}/interaction"][0]  # O x 2 x H x W
        ids = range(1, len(expected) + 1)
        annotation = FrameAnnotation(first["frame"], strokes)
        planes = interaction_planes([annotation], ids, None, height, width, wrap=True)
        np.testing.assert_allclose(planes[:, 1:], expected, atol=1e-6)


def test_the_core_of_a_mask_lies_inside_it():
    mask = np.zeros((30, 40), np.uint8)
    mask[5:25, 10:20] = 2
    planes = mask_core_planes(mask, [2, 3])
    assert planes[0, 1, 15, 15] > 0.9 and planes[0, 1][mask == 0].max() == 0
    assert planes[1].max() == 0  # object 3 is not in the mask
