from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from starlette.testclient import TestClient

from libs.app.application import Application, AppSettings
from libs.app.security import Access, Folders
from libs.app.server import create_server
from tests.libs.app.stand_in import make_segmenter, squares


def write_frames(folder: Path, **sizes: int) -> Path:
    """The squares as a folder of PNG frames."""
    folder.mkdir(parents=True)
    for index, image in enumerate(squares(**sizes)[0]):
        cv2.imwrite(str(folder / f"{index:05d}.png"), image[..., ::-1])
    return folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with the videos `squares` and `more`."""
    write_frames(tmp_path / "videos" / "squares")
    write_frames(tmp_path / "videos" / "more", frames=5)
    return tmp_path / "videos"


@pytest.fixture
def application(videos: Path) -> Iterator[Application]:
    application = Application(make_segmenter(), AppSettings(Folders([videos]), upload_bytes=1 << 20))
    application.open(videos / "squares").result()
    yield application
    application.close()


@pytest.fixture
def client(application: Application) -> TestClient:
    guard = create_server(application, Access("127.0.0.1", 8000))
    return TestClient(guard, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
