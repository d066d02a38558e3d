"""Masks on disk and over pictures."""

import numpy as np
import pytest
from PIL import Image

from dataset_torch.errors import UserError
from dataset_torch.masks import (
    COLOUR_BLIND_PALETTE,
    DAVIS_PALETTE,
    looks_grey,
    overlay,
    read_mask,
    refuse_grey_levels,
    resize_ids,
    write_mask,
)


def test_masks_survive_the_disk(tmp_path):
    mask = np.array([[0, 1, 2], [255, 7, 0]], np.uint8)
    write_mask(tmp_path / "deep" / "m.png", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "deep" / "m.png"), mask)
    with Image.open(tmp_path / "deep" / "m.png") as image:
        assert image.mode == "P" and image.getpalette()[3:6] == [128, 0, 0]


def test_the_palette_is_that_of_davis():
    assert DAVIS_PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len({tuple(c) for c in COLOUR_BLIND_PALETTE[1:8]}) == 7


def test_grey_masks_are_ids_too(tmp_path):
    Image.fromarray(np.array([[0, 3]], np.uint8)).save(tmp_path / "g.png")
    assert read_mask(tmp_path / "g.png").tolist() == [[0, 3]]


def test_a_smaller_mask_has_the_ids_that_cover_most():
    ring = np.full((4, 4), 3, np.uint8)
    ring[1:3, 1:3] = 0  # the middle, where bilinear interpolation would look
    other = np.zeros((4, 4), np.uint8)
    other[:2], other[2, :3] = 1, 7
    assert resize_ids(np.hstack([ring, other]), 1, 2).tolist() == [[3, 1]]


def test_faulty_masks_are_named(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "rgb.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    write_mask(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 5, (64, 64)).astype(np.uint8))
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="RGB"):
        read_mask(tmp_path / "rgb.png")
    with pytest.raises(UserError, match="does not exist"):
        read_mask(tmp_path / "none.png")
    for name in ("bad.png", "cut.png"):
        with pytest.raises(UserError, match="cannot be read"):
            read_mask(tmp_path / name)


def test_only_objects_are_coloured():
    image = np.full((4, 6, 3), 100, np.uint8)
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:4] = 1
    out = overlay(image, mask, contours=False)
    assert (out[mask == 0] == 100).all() and out[1, 2].tolist() == [114, 50, 50]
    assert (overlay(image, mask)[1, 1] == 255).all()


def test_soft_outlines_are_told_from_objects(tmp_path):
    disc = np.zeros((60, 80), np.uint8)
    y, x = np.mgrid[:60, :80]
    distance = 20 - np.hypot(y - 30, x - 40)
    disc[distance > 0] = 255
    assert not looks_grey(disc)
    assert looks_grey(np.clip(128 + 60 * distance, 0, 255).astype(np.uint8))
    coarse = np.where(np.abs(distance) < 0.7, 128, disc).astype(np.uint8)
    assert looks_grey(coarse)  # one level between
    assert looks_grey(np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1)))  # a fade
    objects = np.zeros((60, 80), np.uint8)
    for number in range(12):
        objects[5 * number : 5 * number + 5, 10:70] = 20 * number
    objects[:, 68:72] = 255
    assert not looks_grey(objects)  # many ids, with void
    thin = np.zeros((60, 80), np.uint8)
    thin[10], thin[20:22] = 1, 2
    assert not looks_grey(thin)
    write_mask(tmp_path / "palette.png", coarse)
    refuse_grey_levels(coarse, tmp_path / "palette.png")  # entries of a palette are ids
    Image.fromarray(coarse).save(tmp_path / "grey.png")
    with pytest.raises(UserError, match="hard edges"):
        refuse_grey_levels(coarse, tmp_path / "grey.png")
