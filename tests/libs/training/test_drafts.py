"""Drafts: wrong masks for practising corrections."""

from __future__ import annotations

import numpy as np

from libs.training.drafts import draft


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A picture of two objects, each of two colours, and an object that is not asked for."""
    truth = np.zeros((96, 160), np.uint8)
    truth[20:70, 20:60] = 1
    truth[30:80, 80:120] = 2
    truth[5:15, 130:150] = 3
    image = np.full((96, 160, 3), 90, np.uint8)
    image[truth > 0] = (200, 30, 30)
    image[50:][truth[50:] > 0] = (30, 30, 200)
    return image, truth


def test_a_draft_is_wrong_by_whole_parts_and_only_about_the_objects_asked_for() -> None:
    image, truth = scene()
    wanted = np.where(truth == 3, 0, truth)
    wrong, gained, lost = [], 0, 0
    for seed in range(60):
        result = draft(image, truth, [1, 2], np.random.default_rng(seed))
        assert result.shape == truth.shape and result.dtype == np.uint8
        assert set(np.unique(result)) <= {0, 1, 2}
        wrong.append(float((result != wanted).mean()))
        lost += bool(((wanted > 0) & (result == 0)).any())
        gained += bool(((wanted == 0) & (result > 0)).any())
    assert 0.02 < np.mean(wrong) < 0.3
    assert lost > 20 and gained > 10
    assert len({round(w, 6) for w in wrong}) > 30


def test_two_objects_are_taken_for_one_another_as_a_whole() -> None:
    image, truth = scene()
    swapped = taken = 0
    for seed in range(60):
        result = draft(image, truth, [1, 2], np.random.default_rng(seed))
        first, second = (np.unique(result[truth == i]) for i in (1, 2))
        swapped += first.tolist() == [2] and second.tolist() == [1]
        taken += first.tolist() == second.tolist() and first.tolist() in ([1], [2])
    assert swapped > 3 and taken > 3


def test_the_same_seed_gives_the_same_draft() -> None:
    image, truth = scene()
    first, second = (draft(image, truth, [1, 2], np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)


def test_tiny_and_absent_objects_stay_as_they_are() -> None:
    image, truth = scene()
    truth[:] = 0
    truth[3:5, 3:5] = 1
    assert np.array_equal(draft(image, truth, [1, 2], np.random.default_rng(0)), truth)
