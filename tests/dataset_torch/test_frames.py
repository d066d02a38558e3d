"""Frame sources: folders, videos, arrays, and what can be wrong with them."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames, ImageFolder, VideoFile, natural_key, open_frames


def picture(value: int, height: int = 24, width: int = 32) -> np.ndarray:
    image = np.full((height, width, 3), value, np.uint8)
    image[:, : width // 2, 2] = 255 - value
    return image


def write(path, image, *parameters):
    assert cv2.imwrite(str(path), image, *parameters)


@pytest.fixture
def folder(tmp_path):
    for index, value in enumerate((10, 60, 110)):
        write(tmp_path / f"frame{index + 8}.png", picture(value))
    return tmp_path


def test_a_folder_is_read_in_order_of_numbers_as_rgb(folder):
    frames = open_frames(folder)
    assert len(frames) == 3 and (frames.height, frames.width) == (24, 32)
    assert [frames.read(i)[0, -1].tolist() for i in range(3)] == [[10] * 3, [60] * 3, [110] * 3]
    assert frames.read(0)[0, 0].tolist() == [245, 10, 10]  # red is first
    assert sorted(["frame10", "frame9", "frame09b"], key=natural_key) == ["frame9", "frame09b", "frame10"]


def test_an_index_outside_the_video(folder):
    with pytest.raises(IndexError, match="frames 0 to 2"):
        ImageFolder(folder).read(3)


def test_faults_of_a_folder_are_named(folder, tmp_path_factory):
    with pytest.raises(UserError, match="not a folder"):
        ImageFolder(folder / "none")
    with pytest.raises(UserError, match="no images"):
        ImageFolder(tmp_path_factory.mktemp("empty"))
    with pytest.raises(UserError, match="does not exist"):
        open_frames(folder / "none.mp4")
    write(folder / "frame11.png", picture(3, 10, 10))
    with pytest.raises(UserError, match="10x10, the first frame 32x24"):
        ImageFolder(folder).read(3)
    (folder / "frame12.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="cannot be decoded"):
        ImageFolder(folder).read(4)
    (folder / "frame13.png").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be decoded"):
        ImageFolder(folder).read(5)


def test_a_truncated_jpeg_is_an_error_not_a_grey_picture(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path / "0.jpg", rng.integers(0, 255, (64, 64, 3), np.uint8))
    data = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "0.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="truncated"):
        ImageFolder(tmp_path)


def test_arrays():
    array = np.zeros((2, 5, 7, 3), np.uint8)
    frames = ArrayFrames(array)
    assert len(frames) == 2 and frames.read(1).shape == (5, 7, 3)
    for bad in (array[0], array.astype(float), array[:0], array[..., :1]):
        with pytest.raises(UserError):
            ArrayFrames(bad)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(70):
        writer.write(np.full((48, 64, 3), 3 * index, np.uint8))
    writer.release()
    return path


def test_a_video_gives_every_frame_in_any_order(video):
    frames = open_frames(video)
    assert isinstance(frames, VideoFile) and len(frames) == 70
    for index in (0, 69, 35, 34, 33, 40, 0, 68, 5):
        assert abs(int(frames.read(index).mean()) - 3 * index) <= 3, index


def test_a_small_cache_changes_nothing(video):
    frames = VideoFile(video, cache_bytes=1)
    for index in (69, 68, 67, 20, 21, 0):
        assert abs(int(frames.read(index).mean()) - 3 * index) <= 3, index


def bits(number: int) -> np.ndarray:
    """A picture that shows a number, bit by bit."""
    picture = np.full((240, 320, 3), 40, np.uint8)
    for bit in range(8):
        picture[100:140, 20 + 35 * bit : 50 + 35 * bit] = 255 * (number >> bit & 1)
    return picture


def number_of(picture: np.ndarray) -> int:
    return sum(1 << bit for bit in range(8) if picture[120, 35 + 35 * bit].mean() > 128)


def with_durations(path: Path, runs: list[tuple[int, int]], *, trimmed: int = 0) -> None:
    """Let frames last unequally: `runs` of (count, duration), in place of an MP4 file's table of durations; `trimmed`
    is how long into them the film begins."""
    data = bytearray(path.read_bytes())

    def length_at(place: int) -> int:
        return struct.unpack(">I", data[place : place + 4])[0]

    edits = data.find(b"elst")  # one entry: how much of the video is shown, in ms
    if edits > 0:
        data[edits + 12 : edits + 20] = struct.pack(">II", 10_000_000, trimmed)
    stts = data.find(b"stts") - 4
    table = b"".join(struct.pack(">II", *run) for run in runs)
    box = struct.pack(">I4sII", 16 + len(table), b"stts", 0, len(runs)) + table
    grown = len(box) - length_at(stts)
    assert data.find(b"moov") > data.find(b"mdat"), "the offsets of pictures would move"
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = data.find(name) - 4
        data[place : place + 4] = struct.pack(">I", length_at(place) + grown)
    data[stts : stts + length_at(stts)] = box
    path.write_bytes(data)


@pytest.mark.parametrize(
    "runs",
    [
        [(240, 512)],
        [(120, 512), (120, 1024)],
        [(9, 512), (1, 1536)] * 24,
        [(200, 512), (1, 900), (39, 512)],
        [(9, 512), (1, 0)] * 24,  # two frames at one time
        [(200, 512), (1, 10_000_000), (39, 512)],  # one stands for ten minutes
    ],
)
def test_frames_that_last_unequally_are_those_counted(tmp_path, runs):
    path = tmp_path / "numbers.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for number in range(240):
        writer.write(bits(number))
    writer.release()
    with_durations(path, runs)
    frames = VideoFile(path, cache_bytes=1)
    assert len(frames) == 240
    for index in (100, 50, 119, 150, 149, 239, 0, 238, 201, 1, 237, 236):
        assert number_of(frames.read(index)) == index
        assert number_of(VideoFile(path).read(index)) == index


def test_frames_cut_off_at_the_beginning_are_not_counted(tmp_path):
    path = tmp_path / "numbers.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for number in range(240):
        writer.write(bits(number))
    writer.release()
    with_durations(path, [(120, 512), (120, 1024)], trimmed=10 * 512)
    frames = VideoFile(path, cache_bytes=1)
    shown = [number_of(frame) for frame in map(frames.read, range(len(frames)))]
    assert len(shown) >= 229 and shown == sorted(set(shown))
    for index in (149, 50, 200, 228, 0, 180):
        assert number_of(VideoFile(path).read(index)) == shown[index]
        assert number_of(frames.reopened().read(index)) == shown[index]


def test_something_that_is_no_video(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a video at all")
    with pytest.raises(UserError, match="cannot be decoded as a video"):
        open_frames(path)


def test_fingerprints_tell_videos_apart(folder):
    frames = ImageFolder(folder)
    assert frames.fingerprint() == ImageFolder(folder).fingerprint()
    before = frames.fingerprint()
    write(folder / "frame10.png", picture(111))
    assert ImageFolder(folder).fingerprint() != before
