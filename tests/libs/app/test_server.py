from __future__ import annotations

import os
import sys
import threading
import time
import zlib

import numpy as np
import pytest

from dataset_torch.errors import UserError
from libs.app.application import Application
from tests.libs.app.stand_in import squares, stroke_on


def state_of(client) -> dict:
    """The state without the answer's number, which is another one every time."""
    state = client.get("/api/state").json()
    del state["number"]
    return state


def send(client, name: str, **payload):
    state = state_of(client)
    return client.post(
        f"/api/commands/{name}", json={"session": state["session"], "revision": state["revision"], **payload}
    )


def draw(client, frame: int, object_id: int):
    mark = {"kind": "stroke", "object_id": object_id, "points": stroke_on(frame, object_id)}
    return send(client, "mark", frame=frame, mark=mark)


def wait(application: Application) -> None:
    end = time.monotonic() + 20
    while application.job is not None:
        assert time.monotonic() < end
        time.sleep(0.01)


def mask_of(client, frame: int) -> np.ndarray:
    data = client.get(f"/api/masks/{frame}").content  # the client undoes the deflating
    width, height = np.frombuffer(data[:8], "<u4")
    return np.frombuffer(data[8:], np.uint8).reshape(height, width)


def test_draw_run_and_see_the_masks(client, application):
    assert draw(client, 5, 1).status_code == 200
    assert state_of(client)["marks"]["5"][0]["object_id"] == 1
    assert send(client, "run").status_code == 200
    wait(application)
    state = state_of(client)
    assert state["predicted"] == 12 and state["marks"] == {} and state["job"] is None
    assert state["rounds"] == [{"number": 1, "frame": 5, "imported": False}]
    assert len(state["recommended"]["RS4"]) == 4 and 5 not in state["recommended"]["RS4"]
    np.testing.assert_array_equal(mask_of(client, 9), np.where(squares()[1][9] == 1, 1, 0))
    scores = client.get("/api/scores").json()
    assert len(scores["scores"]) == 12 and None not in scores["scores"]
    assert scores["version"] == state["scores_version"]
    assert client.get("/api/annotations/5").json()[0]["kind"] == "stroke"
    assert send(client, "undo").json()["state"]["predicted"] == 1
    assert send(client, "redo").json()["state"]["predicted"] == 12


def test_a_mask_is_sent_again_only_if_it_changed(client, application):
    first = client.get("/api/masks/5")
    tag = {"if-none-match": first.headers["etag"]}
    assert client.get("/api/masks/5", headers=tag).status_code == 304
    draw(client, 5, 1), send(client, "segment", frame=5)
    changed = client.get("/api/masks/5", headers=tag)
    assert changed.status_code == 200 and changed.headers["etag"] != first.headers["etag"]
    assert client.get("/api/masks/4", headers={"if-none-match": changed.headers["etag"]}).status_code == 200


def test_small_masks_and_pictures(client):
    data = client.get("/api/masks/0?height=24").content
    assert np.frombuffer(data[:8], "<u4").tolist() == [32, 24] and len(data) == 8 + 32 * 24
    for path in ("/api/frames/3", "/api/thumbnails/3", "/api/thumbnails/3"):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.content[:3] == b"\xff\xd8\xff"


def test_pictures_are_not_given_under_the_address_of_another_video(client, application, videos):
    before = state_of(client)["video"]["fingerprint"]
    assert client.get(f"/api/frames/3?v={before}").status_code == 200
    client.post("/api/open", json={"path": str(videos / "more")})
    for kind in ("frames", "thumbnails"):
        answer = client.get(f"/api/{kind}/3?v={before}")
        assert answer.status_code == 409 and "immutable" not in answer.headers.get("cache-control", "")
        now = state_of(client)["video"]["fingerprint"]
        assert client.get(f"/api/{kind}/3?v={now}").status_code == 200


def test_a_video_opened_again_has_other_addresses(client, application, videos):
    before = state_of(client)["video"]["fingerprint"]
    client.post("/api/open", json={"path": str(videos / "more")})
    client.post("/api/open", json={"path": str(videos / "squares")})
    assert state_of(client)["video"]["fingerprint"] != before  # a frame may have been exported anew in between
    assert client.get(f"/api/frames/3?v={before}").status_code == 409


def test_answers_are_numbered_over_all_videos(client, application, videos):
    numbers = []
    for path in (videos / "more", videos / "squares"):
        numbers.append(client.post("/api/open", json={"path": str(path)}).json()["state"]["number"])
        numbers.append(client.get("/api/state").json()["number"])
    assert numbers == sorted(set(numbers))


def test_a_command_for_an_older_state_is_refused_and_says_so(client):
    old = state_of(client)
    draw(client, 5, 1)
    mark = {"kind": "click", "object_id": 1, "points": [[0.5, 0.5]]}
    payload = {"session": old["session"], "revision": old["revision"], "frame": 5, "mark": mark}
    answer = client.post("/api/commands/mark", json=payload)
    assert answer.status_code == 409 and "another tab" in answer.json()["error"]
    assert len(state_of(client)["marks"]["5"]) == 1
    payload["revision"] = state_of(client)["revision"]
    payload["session"] = "another"
    assert client.post("/api/commands/mark", json=payload).status_code == 409


def test_two_tabs_at_once_do_not_corrupt_the_session(client, application):
    """Many commands at the same time: each is either applied whole or refused; undo goes all the way back."""
    applied = []

    def tab(number: int) -> None:
        for i in range(10):
            answer = draw(client, (number * 3 + i) % 12, 1) if i % 3 else send(client, "add_object")
            assert answer.status_code in (200, 409)
            applied.append(answer.status_code == 200)

    tabs = [threading.Thread(target=tab, args=(n,)) for n in range(4)]
    for t in tabs:
        t.start()
    for t in tabs:
        t.join()
    assert state_of(client)["revision"] == 1 + sum(applied)
    for _ in range(sum(applied)):
        assert send(client, "undo").status_code == 200
    state = state_of(client)
    assert state["undo"] is None and state["marks"] == {} and len(state["objects"]) == 1


def test_cancel_stops_between_frames_and_commands_wait_until_then(client, application, monkeypatch):
    network = application.segmenter.network
    plain, gate, reached = network.propagate, threading.Event(), threading.Event()

    def slow(*args):
        reached.set()
        assert gate.wait(20)
        return plain(*args)

    draw(client, 5, 1)
    monkeypatch.setattr(network, "propagate", slow)
    assert send(client, "run").status_code == 200
    assert reached.wait(20)
    assert state_of(client)["job"]["label"] == "The run"
    assert draw(client, 6, 1).status_code == 409
    assert client.post("/api/cancel", json={}).status_code == 200
    gate.set()
    wait(application)
    state = state_of(client)
    assert state["predicted"] == 1 and state["job"] is None
    assert draw(client, 6, 1).status_code == 200


def test_a_fault_in_a_run_is_told_and_the_server_goes_on(client, application, monkeypatch):
    told = []
    monkeypatch.setattr(application.hub, "publish", lambda kind, **content: told.append((kind, content)))
    monkeypatch.setattr(application.segmenter.network, "memorise", lambda *a: 1 / 0)
    draw(client, 5, 1)
    assert send(client, "run").status_code == 200
    wait(application)
    application.command("undo", {"session": "", "revision": 0}).exception()  # the queue is through
    assert "ZeroDivisionError" in next(c["message"] for k, c in told if k == "failed")
    assert send(client, "segment", frame=5).status_code == 500
    monkeypatch.undo()
    assert send(client, "segment", frame=5).status_code == 200


def test_a_page_that_leaves_before_its_run_began_leaves_no_job_behind(client, application):
    draw(client, 5, 1)
    state, gate = state_of(client), threading.Event()
    application._worker.submit(gate.wait, 20)  # the worker is busy, so the run waits in the queue
    accepted = application.run({"session": state["session"], "revision": state["revision"]})
    assert accepted.cancel()
    gate.set()
    wait(application)
    assert state_of(client)["predicted"] == 0
    assert send(client, "run").status_code == 200
    wait(application)
    assert state_of(client)["predicted"] == 12


NONSENSE = [
    ("post", "/api/commands/mark", {}),
    ("post", "/api/commands/mark", {"frame": 99, "mark": {"kind": "click", "object_id": 1, "points": [[0.5, 0.5]]}}),
    ("post", "/api/commands/mark", {"frame": 1e9, "mark": {}}),
    ("post", "/api/commands/mark", {"frame": 10**30, "mark": {"kind": "click", "object_id": 7, "points": [[0, 0]]}}),
    ("post", "/api/commands/erase", {"frame": 0, "path": [[0, "a"]], "radius": 0.1}),
    ("post", "/api/commands/erase", {"frame": 0, "path": [[0, 1], [2]], "radius": 0.1}),
    ("post", "/api/commands/erase", {"frame": 0, "path": [[0, 1]], "radius": "x"}),
    ("post", "/api/commands/erase", {"frame": 0, "path": [[1e308, 1e308]], "radius": 0.1}),
    ("post", "/api/commands/erase", {"frame": 0, "path": [[10**400, 0]], "radius": 0.1}),
    ("post", "/api/commands/erase", {"frame": 0, "path": [[0, 0]], "radius": 10**400}),
    ("post", "/api/commands/mark", {"frame": 0, "mark": {"kind": "click", "object_id": 1, "points": [[10**400, 0]]}}),
    ("post", "/api/export", {"kind": []}),
    ("post", "/api/export", {"kind": {}, "form": "folder"}),
    ("post", "/api/export", {"kind": "masks", "alpha": 10**400}),
    ("post", "/api/commands/change_object", {"object_id": 1, "colour": "red"}),
    ("post", "/api/commands/change_object", {"object_id": 1, "name": ""}),
    ("post", "/api/commands/change_object", {"object_id": 1, "name": ["x"]}),
    ("post", "/api/commands/change_object", {"object_id": 1, "locked": "yes"}),
    ("post", "/api/commands/change_object", {"object_id": 77}),
    ("post", "/api/commands/remove_object", {"object_id": None}),
    ("post", "/api/commands/run", {"direction": "sideways"}),
    ("post", "/api/commands/run", {"first": 5, "last": 2}),
    ("post", "/api/commands/run", {"first": -(10**30)}),
    ("post", "/api/commands/undo", {}),
    ("post", "/api/commands/no_such", {}),
    ("post", "/api/open", {}),
    ("post", "/api/open", {"path": 7}),
    ("get", "/api/frames/999", None),
    ("get", "/api/frames/-1", None),
    ("get", "/api/frames/x", None),
    ("get", "/api/masks/999", None),
    ("get", "/api/masks/0?height=999999999999", None),
    ("get", "/api/masks/0?height=-5", None),
    ("get", "/api/thumbnails/12", None),
    ("get", "/api/annotations/99", None),
    ("get", "/api/folders?path=%00", None),
    ("get", "/nowhere", None),
    ("delete", "/api/state", None),
]


@pytest.mark.parametrize(("method", "path", "payload"), NONSENSE)
def test_no_request_crashes_the_server(client, application, method, path, payload):
    before = state_of(client)
    if payload is not None:
        answer = client.post(path, json={"session": before["session"], "revision": before["revision"], **payload})
    else:
        answer = client.request(method, path)
    assert answer.status_code < 500
    wait(application)
    after = state_of(client)
    assert after == before


def test_names_that_are_no_text_and_what_is_no_file_are_not_listed(client, videos):
    os.mkdir(os.fsencode(videos) + b"/\xff\xfe")
    os.mkfifo(videos / "pipe.mp4")  # reading it would wait for ever
    answer = client.get("/api/folders", params={"path": str(videos)})
    assert [e["name"] for e in answer.json()["entries"]] == ["more", "squares"]


def test_errors_are_a_page_for_who_typed_an_address_and_json_for_the_page(client):
    typed = client.get("/nowhere<b>", headers={"accept": "text/html"})
    assert typed.status_code == 404 and "<p>There is nothing at this address.</p>" in typed.text
    assert client.get("/nowhere").json() == {"error": "there is nothing at this address."}
    assert "frame" in client.get("/api/frames/x").json()["error"]
    refused = client.get("/", headers={"accept": "text/html", "host": "<b>.example"})
    assert refused.headers["content-type"].startswith("text/html") and "<b>" not in refused.text


def test_scores_can_be_read_while_a_run_adds_to_them(application):
    """A page asks for the state at any moment; the run in the worker's thread must not trip it up."""
    session, stop = application.video.controller.session, threading.Event()

    def run() -> None:
        while not stop.is_set():
            session.state.scores.clear()
            for frame in range(12):
                session.state.scores[frame] = 0.5

    worker = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    worker.start()
    try:
        for _ in range(3000):
            assert len(application.scores()["scores"]) == 12
    finally:
        stop.set()
        worker.join()
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}'])
def test_bodies_that_are_no_json_object_are_refused(client, body):
    answer = client.post("/api/commands/undo", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (409, 422)


def test_opening_another_video_closes_the_first_and_refuses_its_commands(client, application, videos):
    draw(client, 5, 1)
    old = state_of(client)
    answer = client.post("/api/open", json={"path": str(videos / "more")})
    assert answer.json()["state"]["video"]["frames"] == 5
    payload = {"session": old["session"], "revision": old["revision"]}
    assert client.post("/api/commands/undo", json=payload).status_code == 409
    client.post("/api/open", json={"path": str(videos / "squares")})
    assert list(state_of(client)["marks"]) == ["5"]
    bad = client.post("/api/open", json={"path": str(videos)})
    assert bad.status_code == 422 and "holds no images" in bad.json()["error"]
    assert state_of(client)["video"]["name"] == "squares"  # what was open stays open


def test_another_video_of_the_same_name_is_not_taken_for_the_open_one(tmp_path):
    from libs.app.application import AppSettings
    from libs.app.security import Folders
    from tests.libs.app.conftest import write_frames
    from tests.libs.app.stand_in import make_segmenter

    paths = [write_frames(tmp_path / place / "frames", frames=count) for place, count in (("a", 4), ("b", 5))]
    settings = AppSettings(Folders([tmp_path]), workspace=tmp_path / "w")
    application = Application(make_segmenter(), settings)
    application.open(paths[0]).result()
    application.open(paths[0]).result()  # open already
    with pytest.raises(UserError, match="both are called frames"):
        application.open(paths[1]).result()
    assert application.describe()["video"]["frames"] == 4
    application.close()


def test_without_a_video_every_request_says_so(videos):
    from starlette.testclient import TestClient

    from libs.app.application import AppSettings
    from libs.app.security import Access, Folders
    from libs.app.server import create_server
    from tests.libs.app.stand_in import make_segmenter

    application = Application(make_segmenter(), AppSettings(Folders([videos])))
    client = TestClient(create_server(application, Access("127.0.0.1", 1)), base_url="http://localhost")
    assert client.get("/api/state").json()["video"] is None
    for path in ("/api/scores", "/api/frames/0", "/api/masks/0", "/api/annotations/0"):
        assert "no video is open" in client.get(path).json()["error"]
    assert client.post("/api/commands/undo", json={}).status_code == 422
    assert [e["path"] for e in client.get("/api/folders").json()["entries"]] == [str(videos.resolve())]
    application.close()


def test_deflated_masks_are_small(client):
    raw = zlib.compress(bytes(48 * 64))
    with client.stream("GET", "/api/masks/0") as answer:
        assert answer.headers["content-encoding"] == "deflate"
        assert len(b"".join(answer.iter_raw())) < len(raw) + 40


def kinds(client, folder) -> dict[str, str]:
    return {e["name"]: e["kind"] for e in client.get("/api/folders", params={"path": str(folder)}).json()["entries"]}


def test_a_folder_is_known_by_all_that_is_in_it(client, videos):
    for name, files in {
        "frames": ["aaa.txt", "00000.png", ".hidden.mp4"],
        "film": ["cover.jpg", "film.mp4"],
        "season": ["poster.jpg", "one/x.txt"],
        "films": ["a.mp4", "b.mp4"],
        "notes": ["a.txt"],
        "worked-on": ["00000.png", "00000.gis/session.db"],
    }.items():
        for file in files:
            path = videos / "all" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert kinds(client, videos / "all") == {
        "film": "mixed",
        "films": "folder",
        "frames": "frames",
        "notes": "folder",
        "season": "mixed",
        "worked-on": "frames",
    }
    assert kinds(client, videos / "all" / "film") == {"film.mp4": "video"}


def test_the_listed_folder_itself_may_be_a_video(client, videos):
    listing = client.get("/api/folders", params={"path": str(videos / "more")}).json()
    assert listing["pictures"] == 5 and listing["entries"] == []
    assert client.post("/api/open", json={"path": listing["path"]}).json()["state"]["video"]["frames"] == 5
    assert client.get("/api/folders", params={"path": str(videos)}).json()["pictures"] == 0
