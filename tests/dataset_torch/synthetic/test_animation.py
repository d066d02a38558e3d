from dataclasses import replace

import numpy as np
import pytest

from dataset_torch.errors import UserError
from dataset_torch.synthetic import Recipe, load_material, render_clip
from dataset_torch.synthetic.actors import choose_sprite, make_layer, random_poses
from dataset_torch.synthetic.animation import AnimatedSprite, play
from dataset_torch.synthetic.cache import PictureCache
from dataset_torch.synthetic.layers import draw
from tests.dataset_torch.toy_material import disc, picture, write_image, write_material

RECIPE = Recipe(steps=6, height=64, width=112, smallest_object=20)


def write_actor(folder, count=4):
    """A bar of 12 x 30 pixels that moves 14 pixels to the right from picture to picture."""
    for index in range(count):
        image = np.zeros((50, 80, 4), np.uint8)
        image[10:40, 5 + 14 * index : 17 + 14 * index] = (20, 200, 40 * index, 255)
        write_image(folder / f"{index:02d}.png", image)
    return folder


@pytest.fixture
def folder(tmp_path):
    root = write_material(tmp_path)
    write_actor(root / "actors" / "bar")
    return root


def test_actors_share_one_canvas(folder):
    actor = load_material(folder).actors[0]
    assert isinstance(actor, AnimatedSprite) and actor.name == "bar" and actor.parts == 1
    assert actor.frames.shape == (4, 30 + 8, 54 + 8, 4)  # what any picture covers, plus 4 on either side
    assert actor.area == 12 * 30
    assert actor.pyramid[0][0].shape == (38, 62, 4)
    columns = [np.flatnonzero(frame[..., 3].any(0))[0] for frame in actor.frames]
    assert columns == [4, 18, 32, 46]
    small = actor.textures(1, np.array([3]))[0]
    assert small.shape == (19, 31, 4) and np.abs(small[0, 0, :3].astype(int) - [20, 200, 120]).max() <= 2


def test_masks_follow_the_animation(folder):
    actor = load_material(folder).actors[0]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        poses = random_poses(rng, RECIPE, (1.6, 1.0), (0.05, 0.05))
        poses.matrices[:] = [[30, 0, 56], [0, 30, 32], [0, 0, 1]]  # stands still: only the pictures change
        recipe = replace(RECIPE, motion_blur=0.0)
        colours = np.zeros((4, 4, 3), np.uint8)
        layer = make_layer(rng, recipe, actor, poses, [3], scene_colours=colours, rigid=True)
        assert len(layer.frames) == 6 and {3} == set(np.unique(draw(layer, 0, 64, 112).ids))
        for step, frame in enumerate(layer.frames):
            patch = draw(layer, step, 64, 112)
            column = np.flatnonzero((patch.opacity > 0.5).any(0)).mean() + patch.left
            middle = np.flatnonzero((frame[..., 3] > 127).any(0)).mean() - (frame.shape[1] - 1) / 2
            assert column == pytest.approx(56 + middle * 30 / layer.unit, abs=1.0)
        assert len({frame[..., 3].tobytes() for frame in layer.frames}) > 1


def test_pictures_are_played_back_and_forth():
    for seed in range(40):
        order = play(np.random.default_rng(seed), 30, 5)
        assert 0 <= order.min() <= 1 and 3 <= order.max() <= 4  # fast ones may skip the ends
        assert 1 <= np.abs(np.diff(order)).max() <= 2 and {-1, 1} <= set(np.sign(np.diff(order)))
    assert set(play(np.random.default_rng(0), 8, 2)) == {0, 1}


def test_the_recipe_says_how_often_actors_play(folder):
    material = load_material(folder)
    rng = np.random.default_rng(0)
    kinds = [isinstance(choose_sprite(rng, RECIPE, material), AnimatedSprite) for _ in range(400)]
    assert np.mean(kinds) == pytest.approx(RECIPE.animated, abs=0.08)
    never = replace(RECIPE, animated=0.0)
    assert not any(isinstance(choose_sprite(rng, never, material), AnimatedSprite) for _ in range(50))


def test_clips_with_actors_depend_on_the_seed_alone(folder):
    recipe = replace(RECIPE, animated=1.0, puppet=0.0, still_scene=0.0, textured=0.5)
    one, two = load_material(folder), load_material(folder)
    render_clip(99, two, recipe)  # what was read before makes no difference
    for seed in range(4):
        first, second = render_clip(seed, one, recipe), render_clip(seed, two, recipe)
        assert (first.frames == second.frames).all() and (first.masks == second.masks).all()


def test_actors_alone_are_enough_to_cut_out(tmp_path):
    write_actor(tmp_path / "actors" / "bar")
    write_image(tmp_path / "backgrounds" / "wall.png", picture(120, 200, 1))
    material = load_material(tmp_path)
    recipe = replace(RECIPE, crowd=1.0)
    assert all(render_clip(seed, material, recipe).masks.any() for seed in range(3))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda actor: [path.unlink() for path in sorted(actor.iterdir())[1:]], "holds 1 .* needs 2 or more"),
        (lambda actor: write_image(actor / "02.png", disc(40)), "several sizes.*one canvas"),
        (lambda actor: write_image(actor / "02.png", picture(50, 80)), "alpha channel.*RGBA or remove"),
        (lambda actor: (actor / "02.png").write_bytes(b"no image"), "alpha channel.*RGBA or remove"),
    ],
)
def test_bad_actors_are_refused(folder, spoil, message):
    spoil(folder / "actors" / "bar")
    with pytest.raises(UserError, match=message):
        load_material(folder)


def test_transparent_actors_are_refused_when_used(folder):
    for path in (folder / "actors" / "bar").iterdir():
        write_image(path, np.zeros((50, 80, 4), np.uint8))
    with pytest.raises(UserError, match="nothing but transparent.*remove"):
        _ = load_material(folder).actors[0].area


def test_the_cache_keeps_the_latest_within_its_limit():
    cache, made = PictureCache(limit=250), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or np.zeros(100, np.uint8))

    for key in "abacab":  # c pushes out b, then b pushes out c
        get(key)
    assert made == ["a", "b", "c", "b"] and cache.size == 200
