"""J and F by hand, and against the framework's own functions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from libs import (
    davis_compat,  # noqa: F401  patches davisinteractive before it is imported
    metrics,
)

# isort: split
from davisinteractive.metrics import batched_f_measure, batched_jaccard


def test_jaccard_by_hand():
    truth = np.array([[[1, 1, 0], [1, 1, 0], [0, 0, 7]]], np.uint8)
    found = np.array([[[1, 1, 1], [0, 0, 0], [0, 7, 7]]], np.uint8)
    np.testing.assert_allclose(metrics.jaccard(truth, found, [1, 7, 3]), [[2 / 5, 1 / 2, 1.0]])


def test_f_measure_by_hand():
    truth, found = np.zeros((2, 1, 20, 20), np.uint8)
    truth[0, :, :5] = 1  # contour: column 4, 20 pixels
    found[0, :, :5] = 1
    found[0, :, 10:15] = 1  # contours more: columns 9 and 14
    # .008 x 28.3 is rounded up to 1 pixel: recall is 1, precision 20 / 60, and F = 2 p r / (p + r)
    expected = 2 * (1 / 3) / (1 / 3 + 1)
    np.testing.assert_allclose(metrics.f_measure(truth, found, [1]), [[expected]])
    # Within 10 pixels (.35 x 28.3, rounded up) everything matches.
    np.testing.assert_allclose(metrics.f_measure(truth, found, [1], tolerance=0.35), [[1.0]])


@pytest.mark.parametrize(("truth", "found", "j", "f"), [(0, 0, 1, 1), (1, 0, 0, 1), (0, 1, 0, 1), (1, 1, 1, 1)])
def test_absent_and_full_frames(truth, found, j, f):
    """An object that fills the frame has no contour, so F does not tell it from an absent one; as in the framework."""
    masks = [np.full((1, 6, 8), value, np.uint8) for value in (truth, found)]
    assert metrics.jaccard(*masks, [1]) == [[j]]
    assert metrics.f_measure(*masks, [1]) == [[f]]
    assert batched_f_measure(*masks, nb_objects=1)[0] == f


def test_one_side_absent_is_zero():
    truth = np.zeros((1, 10, 10), np.uint8)
    truth[0, 3:6, 3:6] = 1
    for pair in ((truth, 0 * truth), (0 * truth, truth)):
        assert metrics.f_measure(*pair, [1]) == [[0.0]]
        assert metrics.jaccard(*pair, [1]) == [[0.0]]


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_the_framework(seed):
    rng = np.random.default_rng(seed)
    shape = 4, int(rng.integers(5, 130)), int(rng.integers(5, 170))
    masks = []
    for _ in range(2):
        smooth = np.stack([cv2.blur(rng.random(shape[1:]), (9, 9)) for _ in range(shape[0])])
        masks.append((smooth * 60 % 4).astype(np.uint8))
    masks[1] = np.where(rng.random(shape) < 0.7, masks[0], masks[1])
    region, contour, both = metrics.j_and_f(*masks, [1, 2, 3])
    expected = [f(*masks, average_over_objects=False, nb_objects=3) for f in (batched_jaccard, batched_f_measure)]
    np.testing.assert_allclose(region, expected[0], atol=1e-12, rtol=0)
    np.testing.assert_allclose(contour, expected[1], atol=1e-12, rtol=0)
    np.testing.assert_allclose(both, (expected[0] + expected[1]) / 2, atol=1e-12, rtol=0)


def test_objects_at_the_border_equal_the_framework():
    truth, found = np.zeros((2, 1, 50, 60), np.uint8)
    truth[0, 40:, 50:], found[0, 41:, 49:] = 1, 1
    truth[0, :5, :6], found[0, :6, :7] = 2, 2
    expected = batched_f_measure(truth, found, average_over_objects=False, nb_objects=2)
    np.testing.assert_allclose(metrics.f_measure(truth, found, [1, 2]), expected, atol=1e-12, rtol=0)


def test_wrong_arrays_are_refused():
    masks = np.zeros((2, 4, 5), np.uint8)
    with pytest.raises(ValueError, match="one shape"):
        metrics.jaccard(masks, masks[:1], [1])
    with pytest.raises(ValueError, match="one shape"):
        metrics.f_measure(masks[0], masks[0], [1])
    with pytest.raises(ValueError, match="integer"):
        metrics.jaccard(masks, masks.astype(float), [1])


def test_ties_have_their_mean_rank():
    # Ranks 1.5, 1.5, 3, 4 and 1, 2, 3, 4: products of the deviations 4.5, squares 4.5 and 5.
    assert metrics.rank_correlation(np.array([1, 1, 2, 3]), np.arange(4)) == pytest.approx(0.9**0.5)
    assert metrics.rank_correlation(np.array([1, 1, 2]), np.array([1, 2, 3])) == pytest.approx(0.75**0.5)


def test_area_over_rounds_by_hand():
    assert metrics.area_over_rounds([0.5, 0.7, 0.9]) == pytest.approx((0.25 + 0.7 + 0.45) / 2)
    assert metrics.area_over_rounds([0.4] * 8) == pytest.approx(0.4)
    assert metrics.area_over_rounds((0, 1, 1)) == 0.75  # trapezoids, not the plain mean
    assert metrics.area_over_rounds([0.3]) == 0.3
    with pytest.raises(ValueError, match="at least one round"):
        metrics.area_over_rounds([])
