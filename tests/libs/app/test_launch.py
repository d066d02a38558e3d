from __future__ import annotations

import socket
from pathlib import Path

import pytest

from config import ROOT, SAMPLE, Config
from dataset_torch.errors import UserError
from libs.app.launch import bind, make_plan
from tests.libs.app.conftest import write_frames


def test_without_arguments_the_sample_is_opened_and_nothing_is_written_beside_it():
    plan = make_plan(Config())
    assert plan.video is not None and plan.video.is_relative_to(SAMPLE)
    assert plan.settings.workspace == ROOT / "workspace"


def test_a_video_opens_its_folder_and_nothing_above(tmp_path):
    video = write_frames(tmp_path / "a" / "squares")
    (tmp_path / "a" / "film.mp4").touch()
    assert make_plan(Config(video=video)).settings.folders.roots == (video,)
    assert make_plan(Config(video=tmp_path / "a" / "film.mp4")).settings.folders.roots == (tmp_path / "a",)
    plan = make_plan(Config(folders=(tmp_path,)))
    assert plan.video is None and plan.settings.folders.roots == (tmp_path,) and plan.settings.workspace is None


@pytest.mark.parametrize("config", [Config(video=Path("/nowhere.mp4")), Config(folders=(Path("/nowhere"),))])
def test_what_is_not_there_is_told(config):
    with pytest.raises(UserError, match="nowhere"):
        make_plan(config)


def test_the_settings_reach_the_application(tmp_path):
    config = Config(
        folders=(tmp_path,), prediction_cache_mb=3, frame_cache_mb=5, undo_steps=7, workspace=tmp_path / "w"
    )
    settings = make_plan(config).settings
    assert settings.prediction_cache_bytes == 3 << 20 and settings.frame_cache_bytes == 5 << 20
    assert settings.undo_steps == 7 and settings.workspace == tmp_path / "w"


def test_a_taken_port_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError, match="Choose another"):
            bind("127.0.0.1", other.getsockname()[1])
    with pytest.raises(UserError, match="cannot listen"):
        bind("203.0.113.1", 0)
