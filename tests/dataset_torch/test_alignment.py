"""Masks lie where their pictures lie, to a small part of a pixel, however both are resized."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_torch.clip import Clip
from dataset_torch.clip_sampling import ClipOptions, sample_clip
from dataset_torch.masks import resize_ids
from dataset_torch.synthetic.material import Photo, image_pyramid
from dataset_torch.synthetic.recipe import DEFAULT_RECIPE
from dataset_torch.synthetic.render import render_still
from libs.geometry import Geometry


def disc(height: int, width: int, row: float, column: float, radius: float) -> np.ndarray:
    """bool H x W."""
    rows, columns = np.mgrid[:height, :width]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def centre(weights: np.ndarray) -> np.ndarray:
    """(row, column) of the centre of mass of H x W."""
    places = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return (places * weights).sum((1, 2)) / weights.sum()


def picture_of(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)


@pytest.mark.parametrize("size", [(240, 427), (240, 432), (288, 512), (160, 288), (500, 900), (480, 600)])
def test_a_resized_mask_is_where_the_resized_picture_is(size: tuple[int, int]) -> None:
    mask = disc(480, 854, 250.3, 449.6, 91).astype(np.uint8)
    geometry = Geometry.of(480, 854)
    geometry = Geometry(480, 854, *size, 0, 0, 0, 0)
    picture = geometry.resize_image(picture_of(mask))[..., 0].astype(float)
    np.testing.assert_allclose(centre(geometry.resize_mask(mask).astype(float)), centre(picture), atol=0.1)


def test_resized_ids_are_those_that_cover_most() -> None:
    ids = np.array([[7, 7, 0, 9], [7, 0, 9, 9]], np.uint8)
    np.testing.assert_array_equal(resize_ids(ids, 1, 2), [[7, 9]])
    assert resize_ids(ids, 2, 4) is ids
    large = resize_ids(ids, 8, 16)
    assert large.dtype == np.uint8 and set(np.unique(large)) == {0, 7, 9} and large[0, 0] == 7 and large[-1, -1] == 9
    np.testing.assert_array_equal(resize_ids(np.full((4, 6), 3, np.uint8), 2, 2), np.full((2, 2), 3))


@pytest.mark.parametrize("size", [(96, 160), (192, 320), (288, 512)])
def test_a_training_clip_is_aligned(size: tuple[int, int]) -> None:
    mask = disc(240, 432, 121.3, 210.8, 60).astype(np.uint8)
    clip = Clip(picture_of(mask)[None], mask[None], (1,), "disc")
    offsets = []
    for seed in range(6):
        options = ClipOptions(steps=1, height=size[0], width=size[1], colour=0.0)
        sampled = sample_clip(clip, np.random.default_rng(seed), options)
        assert sampled is not None
        found = centre(sampled.masks[0].astype(float)) - centre(sampled.frames[0, ..., 0].astype(float))
        offsets.append(found)
    np.testing.assert_allclose(np.mean(offsets, axis=0), 0, atol=0.1)


def test_a_moved_photograph_is_aligned_and_its_mirror_image_belongs_to_it() -> None:
    mask = disc(320, 480, 160, 240, 70).astype(np.uint8)
    mask |= disc(320, 480, 160, 0, 60).astype(np.uint8)  # at the border: beyond it, its mirror image is seen
    photo = Photo("disc", image_pyramid(picture_of(mask)), mask)
    recipe = DEFAULT_RECIPE
    different, total = 0, 0
    for seed in range(8):
        frames, masks = render_still(np.random.default_rng(seed), photo, recipe)
        bright = frames[..., 0] > 127
        different += int((bright != (masks > 0)).sum())
        total += int(bright.sum())
    assert 0 < different < 0.02 * total
