"""What somebody can get wrong when starting the app: told in words, with status 2, before the network is loaded."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import IVOS_app
from libs.app import launch
from tests.libs.app.conftest import write_frames


def write_film(path: Path, *, frames: int = 8, codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    return path


@pytest.fixture
def refused(monkeypatch, capsys) -> Callable[..., str]:
    """Start the app with these arguments; it must refuse them without having loaded a network."""

    def loaded(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was loaded first")

    monkeypatch.setattr(launch, "load_segmenter", loaded)

    def start(*arguments: object) -> str:
        given = list(map(str, arguments))
        status = IVOS_app.main(given if "--port" in given else ["--port", "0", *given])
        output = capsys.readouterr()
        assert status == 2 and output.err.startswith("error: ") and "Traceback" not in output.err, output
        return output.err

    return start


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.mp4", b""), ("text.mp4", b"hello\n" * 100), ("noise.avi", bytes(range(256)) * 40)],
)
def test_a_file_that_is_no_video(refused, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    told = refused(path)
    assert str(path) in told and "Convert it" in told
    assert sorted(tmp_path.iterdir()) == [path]  # no workspace for nothing


def test_a_text_file_is_not_played_as_a_film_of_its_letters(refused, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello\n" * 100)
    assert "no video by its name" in refused(path)


def test_a_video_that_was_cut_off(refused, tmp_path):
    path = write_film(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "Convert it" in refused(path)


def test_folders_without_frames_say_what_is_there_instead(refused, tmp_path):
    assert "holds no images" in refused(tmp_path)
    write_frames(tmp_path / "frames")
    assert "It holds the folder frames: give one" in refused(tmp_path)
    write_film(tmp_path / "film.mp4")
    assert "It holds the video film.mp4: give one" in refused(tmp_path)


def test_a_first_frame_that_is_no_picture(refused, tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"")
    assert "0.jpg" in refused(tmp_path)


def test_a_path_that_is_not_there(refused, tmp_path):
    assert "does not exist" in refused(tmp_path / "film.mp4")
    assert "is not a folder" in refused("--folders", tmp_path / "films")
    assert "has no frames of nothing" in refused("--davis", "nothing")


def test_the_video_may_be_named_behind_the_options(refused, tmp_path, capsys):
    assert "does not exist" in refused("--undo-steps", 3, tmp_path / "film.mp4")
    with pytest.raises(SystemExit):
        IVOS_app.main(["one.mp4", "two.mp4"])
    assert "did not understand 'one.mp4 two.mp4'" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there(refused, tmp_path):
    film = write_film(tmp_path / "film.mp4")
    assert "there is no checkpoint" in refused(film, "--checkpoint", tmp_path / "w.pth")
    assert "is a folder" in refused(film, "--checkpoint", tmp_path)


def test_a_workspace_that_cannot_be_written(refused, tmp_path):
    film = write_film(tmp_path / "film.mp4")
    (tmp_path / "file").touch()
    told = refused(film, "--workspace", tmp_path / "file" / "below")
    assert "cannot be written" in told and "--workspace" in told


def test_a_workspace_that_is_open_elsewhere_or_damaged(refused, tmp_path):
    film = write_film(tmp_path / "film.mp4")
    database = tmp_path / "w" / "film.mp4.gis" / "session.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 1000)
    assert "is damaged" in refused(film, "--workspace", tmp_path / "w")


def test_an_address_that_cannot_be_had(refused, tmp_path):
    film = write_film(tmp_path / "film.mp4")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert "Choose another" in refused(film, "--port", other.getsockname()[1])
    assert "cannot listen" in refused(film, "--host", "203.0.113.1")
    assert "token is too short" in refused(film, "--token", "abc")
    assert not (tmp_path / "film.mp4.gis").exists()
