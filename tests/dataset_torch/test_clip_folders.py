import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dataset_torch.clip_folders import ImageMaskClips, davis_clips, youtube_clips
from dataset_torch.clip_sampling import ClipOptions
from dataset_torch.errors import UserError
from dataset_torch.frames import ORIENTATION
from dataset_torch.masks import write_mask
from dataset_torch.youtube import youtube_ivos_videos
from tests.dataset_torch.toy_material import picture, two_object_mask, write_image

OPTIONS = ClipOptions(steps=3, height=45, width=80, smallest_object=10, colour=0, flip=0, smallest_crop=1, aspect=1)


def write_video(images, masks, names, *, without=()):
    for number, name in enumerate(names):
        write_image(images / f"{name}.jpg", picture(seed=number))
        if name not in without:
            masks.mkdir(parents=True, exist_ok=True)
            write_mask(masks / f"{name}.png", two_object_mask())


@pytest.fixture
def davis(tmp_path):
    names = [f"{i:05d}" for i in range(5)]
    for video in ("ant", "bee"):
        write_video(
            tmp_path / "JPEGImages/480p" / video, tmp_path / "Annotations/480p" / video, names, without=("00003",)
        )
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    (tmp_path / "ImageSets/2017/train.txt").write_text("ant\nbee\n")
    return tmp_path


def test_davis_videos(davis):
    source = davis_clips(davis, OPTIONS)
    assert len(source) == 2 and source.skipped["frame without mask"] == 2
    assert len(source.videos[0].frames) == 4
    clip = source.clip(1, np.random.default_rng(0))
    assert clip.name == "bee" and clip.frames.shape == (3, 45, 80, 3) and set(clip.object_ids) <= {1, 2}


def test_davis_is_refused_in_words(davis, tmp_path):
    with pytest.raises(UserError, match="not in DAVIS layout"):
        davis_clips(davis / "JPEGImages", OPTIONS)
    (davis / "ImageSets/2017/train.txt").write_text("ant\ncow\n")
    with pytest.raises(UserError, match="names cow"):
        davis_clips(davis, OPTIONS)


def test_a_mask_of_another_size_is_skipped_when_read(davis):
    for path in (davis / "Annotations/480p/ant").glob("*.png"):
        write_mask(path, np.ones((9, 9), np.uint8))
    source = davis_clips(davis, OPTIONS)
    for seed in range(5):
        assert source.clip(0, np.random.default_rng(seed)).name == "bee"
    assert source.skipped["unusable"] >= 5


def test_youtube_leaves_the_benchmark_out(tmp_path):
    benchmark = youtube_ivos_videos()[0]
    videos = {}
    for name in ("aaa", benchmark):
        write_video(tmp_path / "train/JPEGImages" / name, tmp_path / "train/Annotations" / name, ["00000", "00005"])
        videos[name] = {"objects": {"1": {"category": "dog", "frames": ["00000", "00005"]}}}
    (tmp_path / "train/meta.json").write_text(json.dumps({"videos": videos}))
    source = youtube_clips(tmp_path, OPTIONS)
    assert [video.name for video in source.videos] == ["aaa"]
    assert source.clip(0, np.random.default_rng(0)).frames.shape == (3, 45, 80, 3)
    assert len(youtube_clips(tmp_path, OPTIONS, exclude=())) == 2
    with pytest.raises(UserError, match="no frame with a mask"):
        youtube_clips(tmp_path, OPTIONS, exclude=("aaa", benchmark))


@pytest.fixture
def pairs(tmp_path):
    for name in ("a", "sub/b"):
        write_image(tmp_path / "images" / f"{name}.jpg", picture())
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        write_mask(tmp_path / "masks" / f"{name}.png", two_object_mask())
    return tmp_path / "images", tmp_path / "masks"


def test_images_become_moving_clips(pairs):
    source = ImageMaskClips(*pairs, OPTIONS)
    assert len(source) == 2
    clip = source.clip(1, np.random.default_rng(1))
    assert clip.frames.shape == (3, 45, 80, 3) and clip.name.endswith("b.jpg")
    assert (clip.masks[0] != clip.masks[2]).any()


def test_a_clip_may_be_a_single_picture(pairs):
    source = ImageMaskClips(*pairs, replace(OPTIONS, steps=1))
    assert [len(source.clip(0, np.random.default_rng(seed)).frames) for seed in range(8)] == [1] * 8


@pytest.mark.parametrize(
    ("spoil", "reason", "message"),
    [
        (lambda masks: (masks / "a.png").unlink(), "image without mask", "has no mask"),
        (lambda masks: write_mask(masks / "a.png", np.ones((9, 9), np.uint8)), "mask of another size", r"\(9, 9\)"),
        (lambda masks: (masks / "a.png").write_bytes(b"?"), "unreadable file", "cannot be read"),
    ],
)
def test_bad_pairs_are_refused_or_counted(pairs, spoil, reason, message):
    spoil(pairs[1])
    with pytest.raises(UserError, match=message):
        ImageMaskClips(*pairs, OPTIONS)
    source = ImageMaskClips(*pairs, OPTIONS, strict=False)
    assert len(source) == 1 and source.skipped == {reason: 1}


def test_folders_without_use_are_refused(pairs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        ImageMaskClips(tmp_path / "empty", pairs[1], OPTIONS)
    with pytest.raises(UserError, match="is not a folder"):
        ImageMaskClips(pairs[0], tmp_path / "nowhere", OPTIONS)
    with pytest.raises(UserError, match="none of the 2"):
        ImageMaskClips(pairs[0], tmp_path / "empty", OPTIONS, strict=False)


def test_masks_without_object_are_skipped_with_a_count(pairs):
    write_mask(pairs[1] / "a.png", np.zeros((90, 160), np.uint8))
    source = ImageMaskClips(*pairs, OPTIONS)
    assert source.clip(0, np.random.default_rng(0)).name.endswith("b.jpg")
    assert source.skipped["unusable"] >= 1


@pytest.mark.parametrize("mode", ["L", "1"])
def test_masks_of_black_and_white_show_one_object(tmp_path, mode):
    object_ = np.zeros((60, 90), bool)
    object_[20:40, 30:60] = True
    for name in "ab":
        write_image(tmp_path / "images" / f"{name}.jpg", picture(height=60, width=90))
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.uint8(255) * object_).convert(mode).save(tmp_path / "masks" / f"{name}.png")
    clip = ImageMaskClips(tmp_path / "images", tmp_path / "masks", OPTIONS).clip(0, np.random.default_rng(0))
    assert clip.object_ids == (1,) and all((mask == 1).any() for mask in clip.masks)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_photographs_that_lie_on_their_side_go_with_upright_masks(tmp_path, suffix):
    lying = Image.fromarray(picture(height=60, width=90))
    exif = lying.getexif()
    exif[ORIENTATION] = 6
    (tmp_path / "images").mkdir(), (tmp_path / "masks").mkdir()
    lying.save(tmp_path / "images" / f"a.{suffix}", exif=exif)
    upright = np.zeros((90, 60), np.uint8)
    upright[30:60, 20:40] = 1
    write_mask(tmp_path / "masks" / "a.png", upright)
    assert len(ImageMaskClips(tmp_path / "images", tmp_path / "masks", OPTIONS)) == 1
    write_mask(tmp_path / "masks" / "a.png", upright.T.copy())
    with pytest.raises(UserError, match="its image"):
        ImageMaskClips(tmp_path / "images", tmp_path / "masks", OPTIONS)


def test_hidden_files_are_no_frames(davis):
    for path in [*davis.rglob("*.jpg"), *davis.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"left by a Mac")
    source = davis_clips(davis, OPTIONS)
    assert [len(video.frames) for video in source.videos] == [4, 4] and source.skipped["frame without mask"] == 2


def test_void_of_a_video_stays_void_where_a_frame_shows_nothing_else(davis):
    void = np.where(two_object_mask() == 2, 255, 0).astype(np.uint8)
    for name in ("00000", "00001", "00002"):
        write_mask(davis / f"Annotations/480p/ant/{name}.png", void)
    write_mask(davis / "Annotations/480p/ant/00004.png", np.where(two_object_mask() == 1, 1, void).astype(np.uint8))
    source = davis_clips(davis, replace(OPTIONS, steps=1, largest_stride=1))
    for _ in range(2):  # before and after it is known
        with pytest.raises(UserError, match="no object"):
            [source.raw(0, np.random.default_rng(seed), 1) for seed in range(8)]
    for path in (davis / "Annotations/480p/bee").glob("*.png"):  # as in DAVIS-2016: one object, no void
        write_mask(path, void)
    source = davis_clips(davis, OPTIONS)
    assert source.raw(1, np.random.default_rng(0), 3).object_ids == (1,)


def test_soft_masks_are_no_masks_of_many_objects(pairs):
    y, x = np.mgrid[:90, :160]
    soft = np.clip(128 + 40 * (30 - np.hypot(y - 45, x - 80)), 0, 255).astype(np.uint8)
    Image.fromarray(soft).save(pairs[1] / "a.png")
    source = ImageMaskClips(*pairs, OPTIONS)
    with pytest.raises(UserError, match="grey levels"):
        source.raw(0, np.random.default_rng(0), 1)
    assert source.clip(0, np.random.default_rng(0)).name.endswith("b.jpg") and source.skipped["unusable"] >= 1


def test_pictures_that_are_too_large_or_truncated_are_skipped(pairs, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100 * 170)
    write_image(pairs[0] / "large.png", picture(400, 400))
    write_mask(pairs[1] / "large.png", np.ones((400, 400), np.uint8))
    source = ImageMaskClips(*pairs, OPTIONS, strict=False)
    assert len(source) == 2 and source.skipped["unreadable file"] == 1
    data = (pairs[0] / "a.jpg").read_bytes()
    (pairs[0] / "a.jpg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UserError, match="truncated"):
        source.raw(0, np.random.default_rng(0), 1)
    (pairs[0] / "a.jpg").write_bytes(data + bytes(5000))  # as of a telephone that appends a film
    assert source.raw(0, np.random.default_rng(0), 1).object_ids == (1, 2)
