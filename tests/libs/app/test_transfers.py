from __future__ import annotations

import io
import zipfile

import cv2
import numpy as np
import pytest

from dataset_torch.masks import encode_mask
from tests.libs.app.stand_in import squares
from tests.libs.app.test_server import draw, mask_of, send, state_of, wait


def upload(client, address: str, data: bytes, name: str = "m.png", **query):
    state = state_of(client)
    query = {"session": state["session"], "revision": state["revision"], **query}
    return client.post(f"/api/upload/{address}", params=query, files={"file": (name, data)})


def test_an_uploaded_mask_becomes_an_annotation(client):
    truth = squares()[1]
    answer = upload(client, "mask", encode_mask(truth[4]), frame=4)
    assert answer.status_code == 200, answer.text
    state = answer.json()["state"]
    assert [e["id"] for e in state["objects"]] == [1, 2]
    assert state["rounds"] == [{"number": 1, "frame": 4, "imported": True}]
    np.testing.assert_array_equal(mask_of(client, 4), truth[4])


@pytest.mark.parametrize(
    ("data", "frame", "message"),
    [
        (b"", 0, "cannot be read"),
        (b"GIF89a", 0, "cannot be read"),
        (encode_mask(np.ones((4, 4), np.uint8)), 0, "4x4"),
        (encode_mask(squares()[1][0]), 12, "no frame 12"),
        (cv2.imencode(".png", squares()[0][0])[1].tobytes(), 0, "RGB picture"),
    ],
)
def test_uploads_that_are_no_masks_are_refused(client, data, frame, message):
    before = state_of(client)
    answer = upload(client, "mask", data, frame=frame)
    assert answer.status_code == 422 and message in answer.json()["error"]
    assert state_of(client) == before


def test_an_old_upload_is_refused(client):
    data = encode_mask(squares()[1][0])
    assert upload(client, "mask", data, frame=0, revision=-1).status_code == 409
    assert upload(client, "masks", data, revision=-1).status_code == 409


def test_export_over_http_and_back_in(client, application):
    draw(client, 5, 1)
    send(client, "run")
    wait(application)
    before = [mask_of(client, f) for f in range(12)]
    state = state_of(client)
    payload = {"session": state["session"], "revision": state["revision"], "kind": "masks", "form": "zip"}
    assert client.post("/api/export", json=payload).status_code == 200
    wait(application)
    answer = client.get("/api/exports/squares-masks.zip")
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    for _ in range(3):
        send(client, "undo")
    assert not mask_of(client, 5).any()
    assert upload(client, "masks", answer.content, "masks.zip").status_code == 200
    wait(application)
    for frame in range(12):
        np.testing.assert_array_equal(mask_of(client, frame), before[frame])
    payload = {**payload, "revision": state_of(client)["revision"], "form": "folder"}
    for _ in range(2):
        assert client.post("/api/export", json=payload).status_code == 200
        wait(application)
    exports = application.opened().controller.workspace.folder / "exports"
    assert sorted(p.name for p in exports.iterdir()) == ["squares-masks", "squares-masks-2", "squares-masks.zip"]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "gif"},
        {"form": "tar"},
        {"colours": {"1": "red"}},
        {"colours": {"x": "#000000"}},
        {"colours": {"999": "#000000"}},
        {"colours": 3},
        {"alpha": 2},
        {"alpha": "x"},
    ],
)
def test_nonsense_exports_are_refused(client, change):
    state = state_of(client)
    payload = {"session": state["session"], "revision": state["revision"], "kind": "masks", **change}
    assert client.post("/api/export", json=payload).status_code == 422


@pytest.mark.parametrize("name", ["..%2fsession.db", "session.db", "nothing.zip", "%00"])
def test_only_exports_can_be_downloaded(client, name):
    assert client.get(f"/api/exports/{name}").status_code == 404


def test_an_uploaded_video_is_kept_in_the_folder_and_opened(client, videos, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for image in squares()[0]:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    data = (tmp_path / "v.avi").read_bytes()
    for name in ("../../film.avi", "film.avi"):
        assert upload(client, "video", data, name).status_code == 200
    assert (videos / "film.avi").is_file() and (videos / "film-2.avi").is_file()
    assert state_of(client)["video"]["frames"] == 12
    assert upload(client, "video", b"no video", "film.mp4").status_code == 422
    assert upload(client, "video", data, "film.exe").status_code == 422
    assert not (videos / "film.mp4").exists()
    assert state_of(client)["video"]["name"] == "film-2"


def test_a_broken_zip_is_told_as_the_end_of_the_job(client, application, monkeypatch):
    told = []
    monkeypatch.setattr(application.hub, "publish", lambda kind, **content: told.append((kind, content)))
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    assert upload(client, "masks", buffer.getvalue() + b"x", "m.zip").status_code == 200
    wait(application)
    application.command("undo", {}).exception()
    assert [c["message"] for k, c in told if k == "failed"]


@pytest.fixture
def told(application, monkeypatch) -> list[tuple[str, dict]]:
    """What the pages hear."""
    heard: list[tuple[str, dict]] = []
    monkeypatch.setattr(application.hub, "publish", lambda kind, **content: heard.append((kind, content)))
    return heard


def zip_of_masks() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for frame, mask in enumerate(squares()[1]):
            archive.writestr(f"{frame:05d}.png", encode_mask(mask))
    return buffer.getvalue()


def test_a_cancelled_import_changes_nothing_and_says_so(client, application, told, monkeypatch):
    store, stored = application.opened().controller.workspace.store_mask, []

    def cancelling(*arguments):
        stored.append(arguments)
        if len(stored) == 3:
            application.cancel()
        return store(*arguments)

    monkeypatch.setattr(application.opened().controller.workspace, "store_mask", cancelling)
    before = state_of(client)
    assert upload(client, "masks", zip_of_masks(), "m.zip").status_code == 200
    wait(application)
    application.command("undo", {}).exception()  # the queue is through
    assert len(stored) == 3
    assert state_of(client) == before
    assert "nothing was changed" in next(content["message"] for kind, content in told if kind == "failed")
    assert {"done": 2, "total": 12} in [
        {key: content["job"][key] for key in ("done", "total")} for kind, content in told if kind == "progress"
    ]


def test_what_is_drawn_while_masks_are_uploaded_does_not_refuse_them(client, application):
    state = state_of(client)
    draw(client, 5, 1)
    file = {"file": ("m.zip", zip_of_masks())}
    answer = client.post("/api/upload/masks", params={"session": state["session"]}, files=file)
    assert answer.status_code == 200
    wait(application)
    after = state_of(client)
    assert after["predicted"] == 12 and list(after["marks"]) == ["5"]
    answer = client.post("/api/upload/masks", params={"session": "another"}, files=file)
    assert answer.status_code == 409


@pytest.mark.parametrize("name", ["so #1", "what? 100%"])
def test_the_link_to_an_export_holds_for_any_name(client, application, told, videos, name):
    (videos / "squares").rename(videos / name)
    assert client.post("/api/open", json={"path": str(videos / name)}).status_code == 200
    state = state_of(client)
    payload = {"session": state["session"], "revision": state["revision"], "kind": "masks", "form": "zip"}
    assert client.post("/api/export", json=payload).status_code == 200
    wait(application)
    application.command("undo", {}).exception()
    link = next(content["download"] for kind, content in told if kind == "finished")
    assert client.get(link).content[:2] == b"PK"
