"""Ctrl-C ends the server at any moment, in words, and what was done comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_torch.errors import UserError
from dataset_torch.frames import VideoFile
from libs.app.application import Application, AppSettings
from libs.app.security import Folders
from tests.benchmarks.long_video import Client
from tests.libs.app.browser import Server
from tests.libs.app.conftest import write_frames
from tests.libs.app.stand_in import make_segmenter, stroke_on


def test_in_the_middle_of_a_run_with_a_page_open_what_was_reached_comes_back(tmp_path):
    video = write_frames(tmp_path / "squares")
    server = Server(str(video), delay=0.3)
    client = Client(server.address)
    page = threading.Thread(target=client.get, args=("api/events",))  # as every page does: never ends by itself
    page.start()
    mark = {"kind": "stroke", "object_id": 1, "points": stroke_on(0, 1)}
    client.post("api/commands/mark", frame=0, mark=mark)
    client.post("api/commands/run")
    while client.state()["predicted"] < 3:
        time.sleep(0.05)
    assert server.interrupt() == 0
    page.join(10)
    assert not page.is_alive()
    server = Server(str(video))
    try:
        state = Client(server.address).state()
        assert 3 <= state["predicted"] < 12 and "(stopped)" in state["undo"]["label"]
    finally:
        assert server.interrupt() == 0


def test_counting_the_frames_of_a_damaged_video_can_be_stopped(tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(30):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 10 < len(VideoFile(path)) < 30
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) == 5

    with pytest.raises(UserError, match="was stopped"):
        VideoFile(path, cancelled=cancelled)
    assert len(asked) == 5


def test_a_reopened_video_is_not_counted_again(tmp_path, monkeypatch):
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    video = VideoFile(path, cache_bytes=1 << 20)
    monkeypatch.setattr(VideoFile, "_verified_count", lambda *_: pytest.fail("counted again"))
    other = video.reopened()
    assert len(other) == 12 and other is not video
    video.read(11)
    np.testing.assert_array_equal(other.read(3), video.read(3))


def test_closing_does_not_wait_for_ever_for_a_call_that_does_not_end(tmp_path: Path):
    application = Application(make_segmenter(), AppSettings(Folders([tmp_path])))
    going, end = threading.Event(), threading.Event()

    def stuck() -> dict:
        going.set()
        end.wait(60)
        return {}

    application._submit(stuck)
    going.wait(60)
    assert application.close(patience=0.01) is False
    end.set()
    assert application.close() is True
