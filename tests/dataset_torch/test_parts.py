import cv2
import numpy as np
import pytest

from dataset_torch import clip_folders
from dataset_torch.clip_folders import ImageMaskClips
from dataset_torch.clip_sampling import ClipOptions
from dataset_torch.masks import write_mask
from dataset_torch.parts import random_part, recolour_parts
from dataset_torch.synthetic.__main__ import main
from dataset_torch.synthetic.actors import choose_sprite
from dataset_torch.synthetic.material import load_material
from dataset_torch.synthetic.recipe import Recipe
from tests.dataset_torch.toy_material import picture, two_object_mask, write_image, write_material


@pytest.fixture
def region():
    inside = np.zeros((60, 80), bool)
    inside[10:50, 20:60] = True
    return inside


def test_a_part_is_some_of_its_region(region):
    image = picture(60, 80, 3)
    shares = []
    for seed in range(30):
        part = random_part(image, region, np.random.default_rng(seed))
        assert not (part & ~region).any()
        shares.append(part.sum() / region.sum())
    assert min(shares) < 0.3 and max(shares) > 0.5 and np.median(shares) > 0.05


def test_a_part_of_one_colour_follows_the_colours():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = (200, 30, 30)
    region = np.ones((40, 40), bool)
    halves = 0
    for seed in range(40):
        part = random_part(image, region, np.random.default_rng(seed))
        halves += (part[:, :19].all() and not part[:, 21:].any()) or (part[:, 21:].all() and not part[:, :19].any())
    assert halves >= 5  # a third of the draws is by colour; some of them draw one colour only


def test_only_parts_of_objects_change_their_colour():
    image, mask = picture(90, 120, 1), np.zeros((90, 120), np.uint8)
    mask[20:60, 10:50], mask[30:70, 70:110], mask[2:5, 2:5] = 1, 2, 3  # the last is too small to have parts
    changed = np.zeros(4)
    for seed in range(10):
        result = recolour_parts(image, mask, np.random.default_rng(seed))
        different = np.abs(result.astype(int) - image).max(2) > 3
        near = cv2.dilate((mask > 0).astype(np.uint8), np.ones((13, 13))) > 0
        assert not different[~near].any() and not different[mask == 3].any()
        changed[1:3] += [different[mask == 1].mean() / 10, different[mask == 2].mean() / 10]
    assert (changed[1:3] > 0.1).all() and (changed[1:3] < 0.9).all()


def test_single_pictures_are_recoloured_as_often_as_wanted(tmp_path, monkeypatch):
    write_image(tmp_path / "images/a.png", picture(seed=0))
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks/a.png", two_object_mask())
    calls = []
    monkeypatch.setattr(clip_folders, "recolour_parts", lambda image, mask, rng: calls.append(mask) or 0 * image)
    for chance, at_least, at_most in ((0.0, 0, 0), (0.5, 5, 15), (1.0, 20, 20)):
        calls.clear()
        options = ClipOptions(steps=2, height=45, width=80, smallest_object=10, colour=0, recolour=chance)
        source = ImageMaskClips(tmp_path / "images", tmp_path / "masks", options)
        clips = [source.clip(0, np.random.default_rng(seed)) for seed in range(20)]
        assert at_least <= len(calls) <= at_most
    assert calls[0].shape == (90, 160) and max(clip.frames.mean() for clip in clips) < 40  # the black picture was used


def test_sprites_keep_their_outline(tmp_path):
    material = load_material(write_material(tmp_path))
    plain = choose_sprite(np.random.default_rng(4), Recipe(animated=0), material)
    motley = choose_sprite(np.random.default_rng(4), Recipe(animated=0, recoloured_parts=1), material)
    assert motley.name == plain.name and (motley.area, motley.scale) == (plain.area, plain.scale)
    for (rgba, parts), (old, old_parts) in zip(motley.pyramid, plain.pyramid, strict=True):
        assert (parts == old_parts).all() and (rgba[..., 3] == old[..., 3]).all()
    assert (motley.pyramid[0][0] != plain.pyramid[0][0]).any()


def test_a_share_of_recoloured_parts_is_a_share(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--material", str(tmp_path), "--out", str(tmp_path), "--count", "1", "--recoloured-parts", "50"])
    assert "between 0 and 1, not 50" in capsys.readouterr().err
