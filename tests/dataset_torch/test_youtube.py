import json

import numpy as np
import pytest

from dataset_torch.errors import UserError
from dataset_torch.masks import write_mask
from dataset_torch.youtube import YouTubeDataset, frame_step, youtube_ivos_videos
from tests.dataset_torch.toy_material import picture, write_image


@pytest.fixture
def root(tmp_path):
    train = tmp_path / "train"
    for index, name in enumerate(("00005", "00010", "00015")):
        write_image(train / "JPEGImages/vid" / f"{name}.jpg", picture(40, 30))
        mask = np.zeros((40, 30), np.uint8)
        mask[:10], mask[20:30] = 2, 5 if index else 0
        (train / "Annotations/vid").mkdir(parents=True, exist_ok=True)
        write_mask(train / "Annotations/vid" / f"{name}.png", mask)
    objects = {"5": {"category": "cat", "frames": ["00010", "00015"]}, "2": {"category": "dog", "frames": ["00005"]}}
    meta = {"videos": {"vid": {"objects": objects}, "gone": {"objects": {}}}}
    (train / "meta.json").write_text(json.dumps(meta))
    return tmp_path


def test_a_video_is_read_with_its_own_ids(root):
    dataset = YouTubeDataset(root)
    assert dataset.names == ["gone", "vid"] and len(dataset) == 2
    video = dataset.video("vid")
    assert video.object_ids == (2, 5)
    assert video.frame_names == ("00005", "00010", "00015") and len(video) == 3
    assert (video.frames.height, video.frames.width) == (40, 30) and video.frames.name == "vid"
    masks = video.masks()
    assert masks.shape == (3, 40, 30) and [np.unique(m).tolist() for m in masks] == [[0, 2], [0, 2, 5], [0, 2, 5]]
    assert video.index_of("00010") == video.index_of("00010.png") == 1
    assert YouTubeDataset(root / "train").names == dataset.names


def test_hidden_files_are_no_frames(root):
    (root / "train/JPEGImages/vid/._00005.jpg").write_bytes(b"left by a Mac")
    assert YouTubeDataset(root).video("vid").frame_names == ("00005", "00010", "00015")


def test_frames_of_another_release_are_told(root):
    with pytest.raises(UserError, match="every 5th. .* 2019 release"):
        YouTubeDataset(root).video("vid").index_of("00012.png")
    assert frame_step(("00000", "00001", "00002")) == 1 and frame_step(("00000",)) == 1


def test_choosing_videos(root):
    assert YouTubeDataset(root, videos=["vid"]).names == ["vid"]
    assert YouTubeDataset(root, exclude=["gone", "never there"]).names == ["vid"]
    with pytest.raises(UserError, match="1 of 2 wanted videos"):
        YouTubeDataset(root, videos=["vid", "nope"])


def test_bad_data_is_refused_in_words(root, tmp_path):
    dataset = YouTubeDataset(root)
    with pytest.raises(UserError, match="no .jpg frames"):
        dataset.video("gone")
    with pytest.raises(UserError, match="not in"):
        dataset.video("nope")
    write_mask(root / "train/Annotations/vid/00005.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(UserError, match="4x4, the frames 30x40"):
        dataset.video("vid").mask(0)
    (root / "train/meta.json").write_text("[]")
    with pytest.raises(UserError, match="not a YouTube-VOS"):
        YouTubeDataset(root)
    (root / "train/meta.json").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        YouTubeDataset(root)
    with pytest.raises(UserError, match="elsewhere does not exist"):
        YouTubeDataset(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UserError, match="has no folder JPEGImages"):
        YouTubeDataset(tmp_path / "elsewhere")


def test_the_benchmark_list_is_whole():
    names = youtube_ivos_videos()
    assert len(names) == len(set(names)) == 200 and list(names) == sorted(names)
    assert all(len(name) == 10 and set(name) <= set("0123456789abcdef") for name in names)
