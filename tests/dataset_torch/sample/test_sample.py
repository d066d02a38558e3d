import json

import cv2
import numpy as np
import pytest

from dataset_torch.frames import ImageFolder
from dataset_torch.masks import read_mask
from dataset_torch.sample import SAMPLE_DAVIS, SAMPLE_YOUTUBE
from dataset_torch.sample.strokes import axis_path, human_scribbles, longest_path, object_strokes
from dataset_torch.youtube import YouTubeDataset

SEQUENCES = {"astronaut": 1, "cat": 1, "cups": 2, "road": 2, "walkers": 3}


def test_davis_layout():
    assert (SAMPLE_DAVIS / "ImageSets/2017/val.txt").read_text().split() == list(SEQUENCES)
    for name, objects in SEQUENCES.items():
        frames = ImageFolder(SAMPLE_DAVIS / "JPEGImages/480p" / name)
        assert (frames.height, frames.width) == (240, 432) and 20 <= len(frames) <= 30
        masks = np.stack([read_mask(SAMPLE_DAVIS / f"Annotations/480p/{name}/{i:05d}.png") for i in range(len(frames))])
        assert masks.shape[1:] == (240, 432) and set(np.unique(masks)) == set(range(objects + 1))


@pytest.mark.parametrize("name", SEQUENCES)
def test_scribbles_lie_on_their_objects(name):
    files = sorted((SAMPLE_DAVIS / "Scribbles" / name).glob("*.json"))
    assert [f.name for f in files] == (["001.json", "002.json"] if name == "cups" else ["001.json"])
    for file in files:
        content = json.loads(file.read_text())
        number = len(list((SAMPLE_DAVIS / "JPEGImages/480p" / name).iterdir()))
        assert content["sequence"] == name and len(content["scribbles"]) == number
        (annotated,) = [i for i, strokes in enumerate(content["scribbles"]) if strokes]
        mask = read_mask(SAMPLE_DAVIS / f"Annotations/480p/{name}/{annotated:05d}.png")
        strokes = content["scribbles"][annotated]
        assert {s["object_id"] for s in strokes} == set(range(1, SEQUENCES[name] + 1))
        for stroke in strokes:
            x, y = (np.array(stroke["path"]) * [432, 240]).astype(int).T
            assert len(x) >= 3 and (mask[y, x] == stroke["object_id"]).mean() > 0.9
            assert stroke["end_time"] > stroke["start_time"]


def test_youtube_layout():
    dataset = YouTubeDataset(SAMPLE_YOUTUBE)
    assert dataset.names == ["fish", "motorcycle", "tiger"]
    videos = {name: dataset.video(name) for name in dataset.names}
    assert videos["fish"].frames.height > videos["fish"].frames.width  # portrait
    assert videos["motorcycle"].object_ids == (2, 5)  # do not start at 1, and with a gap
    described = json.loads((SAMPLE_YOUTUBE / "train/meta.json").read_text())["videos"]
    first, late = (described["tiger"]["objects"][i]["frames"][0] for i in ("1", "2"))
    assert first == "00000" and late != "00000"
    for video in videos.values():
        assert [int(n) for n in video.frame_names] == list(range(0, 5 * len(video), 5))
        masks = video.masks()
        for object_id, told in described[video.name]["objects"].items():
            seen = [name for name, mask in zip(video.frame_names, masks) if (mask == int(object_id)).any()]
            assert seen == told["frames"]
        assert set(np.unique(masks)) == {0, *video.object_ids}


def test_it_stays_small():
    files = [path for root in (SAMPLE_DAVIS, SAMPLE_YOUTUBE) for path in root.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6e6


def test_rendering_again_gives_the_same():
    pytest.importorskip("skimage", reason="the photographs come with scikit-image")
    from dataset_torch.sample.ingredients import CLIPART
    from dataset_torch.sample.scenes import DAVIS_SCENES, render_scene

    scene = next(s for s in DAVIS_SCENES if s.name == "cups")  # photographs only
    frames, masks = render_scene(scene, CLIPART, only=3)
    again, _ = render_scene(scene, CLIPART, only=3)
    assert (frames == again).all()
    stored = cv2.imread(str(SAMPLE_DAVIS / "JPEGImages/480p/cups/00003.jpg"))[..., ::-1]
    assert np.abs(frames[0].astype(int) - stored).mean() < 4  # what JPEG loses
    # Another OpenCV may round a few pixels of the outline differently.
    assert (masks[0] != read_mask(SAMPLE_DAVIS / "Annotations/480p/cups/00003.png")).mean() < 0.002


def test_missing_drawings_are_told(tmp_path, capsys):
    from dataset_torch.sample.render import main

    status = main(["--clipart", str(tmp_path), "--davis", str(tmp_path / "d"), "--youtube", str(tmp_path / "y")])
    assert status == 2 and "openclipart-png" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_strokes():
    skeleton = np.zeros((9, 30), bool)
    skeleton[4, 2:28] = True
    skeleton[5:8, 15] = True  # a short branch
    path = longest_path(skeleton)
    assert sorted([path[0].tolist(), path[-1].tolist()]) == [[2, 4], [27, 4]] and len(path) == 26
    bar = np.zeros((20, 60), bool)
    bar[8:12, 10:50] = True
    line = axis_path(bar)
    assert (line[:, 1] >= 8).all() and (line[:, 1] < 12).all() and np.ptp(line[:, 0]) > 25
    for stroke in object_strokes(np.random.default_rng(0), bar):
        x, y = (np.array(stroke) * [60, 20]).astype(int).T
        assert bar[y, x].all()
    masks = np.stack([np.zeros_like(bar), bar]).astype(np.uint8) * 4
    scribbles = human_scribbles(np.random.default_rng(0), "s", masks, 1)
    assert scribbles["scribbles"][0] == [] and scribbles["scribbles"][1][0]["object_id"] == 4
