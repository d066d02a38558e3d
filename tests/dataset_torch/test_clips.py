import numpy as np
import pytest

from dataset_torch.clip import Clip
from dataset_torch.clip_sampling import ClipOptions
from dataset_torch.clips import NOMINAL_LENGTH, ClipSource, MixedClips, RenderedClips, SyntheticClips
from dataset_torch.errors import UserError
from dataset_torch.synthetic import Recipe, load_material, render_many
from tests.dataset_torch.toy_material import picture, two_object_mask, write_material

OPTIONS = ClipOptions(steps=2, height=48, width=80, smallest_object=10)


class Toy(ClipSource):
    """Item 0 is unusable, item 1 is fine."""

    def __init__(self, options: ClipOptions, *, bad: tuple[int, ...] = (0,)):
        super().__init__(options)
        self.bad, self.seen = bad, []

    def __len__(self) -> int:
        return 2

    def raw(self, index: int, rng: np.random.Generator, steps: int) -> Clip:
        self.seen.append(index)
        if index in self.bad:
            raise UserError(f"item {index} is broken")
        return Clip(np.stack([picture()] * steps), np.stack([two_object_mask()] * steps), (1, 2), "toy")


def test_bad_items_are_replaced_and_counted(caplog):
    source = Toy(OPTIONS)
    for seed in range(10):
        assert source.clip(0, np.random.default_rng(seed)).name == "toy"
    assert source.skipped["unusable"] == source.seen.count(0) >= 10
    assert caplog.text.count("item 0 is broken") == 1  # told once, counted always
    assert "unusable" in source.summary()


def test_a_source_of_bad_items_only_ends_in_words():
    with pytest.raises(UserError, match="is broken"):
        Toy(OPTIONS, bad=(0, 1)).clip(0, np.random.default_rng(0))


def test_the_generator_decides_and_steps_may_be_overridden():
    source = Toy(OPTIONS)
    first, second = (source.clip(1, np.random.default_rng(4), steps=3) for _ in range(2))
    assert first.frames.shape == (3, 48, 80, 3)
    assert (first.frames == second.frames).all() and (first.masks == second.masks).all()


def test_a_mix_draws_by_weight():
    common, rare = Toy(OPTIONS, bad=()), Toy(OPTIONS, bad=())
    mix = MixedClips([(common, 3), (rare, 1)])
    for seed in range(200):
        mix.clip(seed, np.random.default_rng(seed))
    assert len(mix) == 4 and 125 < len(common.seen) < 175 and len(common.seen) + len(rare.seen) == 200
    assert mix.summary().startswith("75%")
    with pytest.raises(UserError, match="weight"):
        MixedClips([(common, 0.0)])


def test_rendered_and_synthetic_clips(tmp_path):
    material = load_material(write_material(tmp_path / "m"))
    recipe = Recipe(steps=4, height=48, width=80, smallest_object=20)
    render_many(tmp_path / "c", 2, material, recipe=recipe)
    rendered = RenderedClips(tmp_path / "c", OPTIONS)
    synthetic = SyntheticClips(material, OPTIONS)
    assert len(rendered) == 2 and len(synthetic) == NOMINAL_LENGTH
    for source in (rendered, synthetic):
        clip = source.clip(1, np.random.default_rng(0), steps=3)
        assert clip.frames.shape == (3, 48, 80, 3) and clip.object_ids[0] == 1
    assert (
        synthetic.clip(1, np.random.default_rng(0)).frames != synthetic.clip(1, np.random.default_rng(1)).frames
    ).any()


def test_a_damaged_rendered_clip_is_skipped(tmp_path):
    recipe = Recipe(steps=4, height=48, width=80, smallest_object=20)
    render_many(tmp_path / "c", 2, load_material(write_material(tmp_path / "m")), recipe=recipe)
    path = tmp_path / "c" / "0000-000000.npz"
    path.write_bytes(path.read_bytes()[:500])
    source = RenderedClips(tmp_path / "c", OPTIONS)
    assert source.clip(0, np.random.default_rng(0)).frames.shape == (2, 48, 80, 3)
    assert source.skipped["unusable"] >= 1
