import numpy as np
import pytest

from dataset_torch.clip import Clip
from dataset_torch.errors import UserError
from dataset_torch.synthetic import ClipShards, Recipe, load_material, render_many
from dataset_torch.synthetic.__main__ import main
from dataset_torch.synthetic.shards import pack_clip, unpack_clip
from tests.dataset_torch.toy_material import picture, write_material

SMALL = Recipe(steps=2, height=48, width=80, smallest_object=20)


def test_a_packed_clip_comes_back():
    masks = np.zeros((2, 90, 160), np.uint8)
    masks[0, 10:20, 5:50], masks[1, 3:9, 100:150] = 1, 9
    clip = Clip(np.stack([picture(seed=1), picture(seed=2)]), masks, (1, 9), "a")
    back = unpack_clip(pack_clip(clip), "a")
    assert (back.masks == masks).all() and back.object_ids == (1, 9)
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 3


def test_garbage_is_told():
    with pytest.raises(ValueError, match="not a clip file"):
        unpack_clip(b"PK garbage", "x")


def test_a_store_grows_and_is_completed(tmp_path):
    material, out = load_material(write_material(tmp_path / "m")), tmp_path / "clips"
    assert render_many(out, 2, material, seed=3, recipe=SMALL) == 2
    shards = ClipShards(out)
    first = shards[0]
    assert len(shards) == 2 and first.frames.shape == (2, 48, 80, 3)
    (out / "0003-000000.npz").unlink()
    assert render_many(out, 3, material, seed=3, recipe=SMALL) == 2  # the deleted one and the third
    assert shards.refresh() == 3
    assert (shards[0].frames == first.frames).all()
    render_many(out, 1, material, seed=1, recipe=SMALL)  # sorts before the others, yet indices stay
    assert shards.refresh() == 4 and shards[3].name.startswith("0001-") and (shards[0].frames == first.frames).all()


def test_workers_give_the_same_clips(tmp_path):
    folder = write_material(tmp_path / "m")
    render_many(tmp_path / "one", 3, folder, recipe=SMALL)
    render_many(tmp_path / "two", 3, folder, workers=2, recipe=SMALL)
    one, two = ClipShards(tmp_path / "one"), ClipShards(tmp_path / "two")
    assert all((one[i].frames == two[i].frames).all() for i in range(3))
    with pytest.raises(UserError, match="folder"):
        render_many(tmp_path / "one", 4, load_material(folder), workers=2)


def test_command_line(tmp_path, capsys):
    folder = write_material(tmp_path / "m")
    arguments = ["--out", str(tmp_path / "c"), "--count", "2", "--steps", "2", "--size", "64", "112"]
    assert main(["--material", str(folder), *arguments]) == 0
    assert "2 clips rendered" in capsys.readouterr().out and ClipShards(tmp_path / "c")[1].frames.shape == (
        2,
        64,
        112,
        3,
    )
    other = write_material(tmp_path / "n")
    assert main(["--material", str(folder), str(other), *arguments, "--seed", "2"]) == 0
    assert "2 clips rendered" in capsys.readouterr().out
    assert main(["--material", str(tmp_path / "nothing"), *arguments, "--seed", "1"]) == 2
    assert "0 cut-outs" in capsys.readouterr().err


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no rendered clips"):
        ClipShards(tmp_path)
