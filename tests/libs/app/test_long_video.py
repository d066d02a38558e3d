"""Video files: opening reads no more than it must, and every frame is the right one however one gets there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_torch.frames import VideoFile

FRAMES = 80


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Frame i is grey of brightness 40 + 2 i."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for i in range(FRAMES):
        writer.write(np.full((48, 64, 3), 40 + 2 * i, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("order", [range(FRAMES), range(FRAMES - 1, -1, -1), [70, 3, 79, 2, 1, 0, 40, 39, 41, 79, 5]])
def test_every_frame_is_the_right_one_in_any_order(film, order):
    capture = cv2.VideoCapture(str(film))
    expected = [capture.read()[1][..., ::-1] for _ in range(FRAMES)]  # from the first to the last, nothing skipped
    assert len({image.tobytes() for image in expected}) > FRAMES / 2
    video = VideoFile(film, cache_bytes=10 * 48 * 64 * 3)
    assert len(video) == FRAMES and video.frames_per_second == 25
    for i in order:
        np.testing.assert_array_equal(video.read(i), expected[i], err_msg=str(i))


def test_opening_decodes_only_a_few_frames_and_a_jump_only_one(film, monkeypatch):
    decoded: list[int] = []
    plain = VideoFile._decode

    def counted(self, index: int):
        decoded.append(index)
        return plain(self, index)

    monkeypatch.setattr(VideoFile, "_decode", counted)
    video = VideoFile(film)
    assert len(decoded) <= 2
    video.read(70)
    decoded.clear()
    video.read(5)
    assert decoded == [5]
    decoded.clear()
    video.read(4)  # step by step backwards, a run of frames is decoded at once
    video.read(3)
    assert decoded == [1, 2, 3, 4]  # frame 0 is in the cache since the opening


def test_the_cache_keeps_to_its_budget(film):
    frame = 48 * 64 * 3
    video = VideoFile(film, cache_bytes=10 * frame)
    for i in range(FRAMES):
        video.read(i)
    assert sum(image.nbytes for image in video._cache.values()) <= 10 * frame
