import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dataset_torch.errors import UserError
from dataset_torch.synthetic import Recipe, load_material, render_clip
from dataset_torch.synthetic.light import CameraEffects
from dataset_torch.synthetic.render import render_still, renumber
from tests.dataset_torch.toy_material import write_material

SMALL = Recipe(steps=3, height=48, width=80, smallest_object=20)


def visible_pixels(masks: np.ndarray, object_ids: tuple[int, ...]) -> np.ndarray:
    """Pixels of each object in each frame, int T x O."""
    return np.stack([(masks == i).sum((1, 2)) for i in object_ids], 1)


@pytest.fixture(scope="module")
def material_folder(tmp_path_factory):
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def material(material_folder):
    return load_material(material_folder)


def test_clips_keep_their_promises(material):
    counts = set()
    for seed in range(30):
        clip = render_clip(seed, material, SMALL)
        assert clip.frames.shape == (3, 48, 80, 3) and clip.masks.shape == (3, 48, 80)
        assert clip.object_ids == tuple(range(1, len(clip.object_ids) + 1))
        assert (visible_pixels(clip.masks, clip.object_ids).max(0) >= 20).all()
        counts.add(len(clip.object_ids))
    assert counts >= {1, 2, 3}


def test_the_seed_alone_decides_in_every_process(material, material_folder):
    seeds = range(4)
    here = hashlib.sha256()
    for seed in seeds:
        clip = render_clip((5, seed), material, SMALL)
        here.update(clip.frames.tobytes() + clip.masks.tobytes())
    code = (
        "import sys, hashlib; from pathlib import Path; from dataset_torch.synthetic import *\n"
        "digest = hashlib.sha256(); material = load_material(Path(sys.argv[1]))\n"
        "recipe = Recipe(steps=3, height=48, width=80, smallest_object=20)\n"
        f"clips = [render_clip((5, seed), material, recipe) for seed in {list(seeds)}]\n"
        "[digest.update(c.frames.tobytes() + c.masks.tobytes()) for c in clips]; print(digest.hexdigest())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(material_folder)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == here.hexdigest()
    assert (render_clip((5, 9), material, SMALL).frames != render_clip((5, 0), material, SMALL).frames).any()


def test_objects_that_hardly_show_are_dropped_and_ids_closed_up():
    masks = np.zeros((2, 10, 10), np.uint8)
    masks[0, :3, :3] = 2
    masks[1, 5:8, :5] = 7
    masks[1, 0, 0] = 4
    result = renumber(masks, 9)
    assert (result[0] == 1).sum() == 9 and (result[1] == 2).sum() == 15 and result[1, 0, 0] == 0
    assert visible_pixels(result, (1, 2)).tolist() == [[9, 0], [0, 15]]


def test_scenes_without_a_visible_object_end_in_an_error(material):
    with pytest.raises(UserError, match="Render larger frames"):
        render_clip(0, material, replace(SMALL, smallest_object=48 * 80 + 1))


def test_a_still_at_rest_stays_what_it_is(material):
    still = material.stills[0]
    recipe = replace(SMALL, steps=5)
    frames, masks = render_still(np.random.default_rng(3), still, recipe)
    assert frames.shape == (5, 48, 80, 3) and set(np.unique(masks)) == {0, 1, 2}
    # Object 1 is twice as tall as it is wide in the picture and stays about as large through the clip.
    areas = visible_pixels(masks, (1,))[:, 0]
    assert areas.min() > 0.3 * areas.max() > 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [1, 2])
def test_clips_of_one_picture_and_two(material, steps):
    for seed in range(25):
        assert len(render_clip(seed, material, replace(SMALL, steps=steps))) == steps


def test_a_range_may_be_one_number(material):
    recipe = replace(SMALL, jpeg=1, jpeg_quality=(50, 50))
    assert CameraEffects(np.random.default_rng(0), recipe).quality == 50
