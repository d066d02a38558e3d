"""The page in a real Chromium, against a real server; the network is the stand-in that segments by colour.

Skipped where there is no Chromium: `apt-get install chromium`, or name one in `GIS_CHROMIUM`.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_torch.masks import encode_mask
from tests.libs.app.browser import CHROMIUM, Server, User, chromium
from tests.libs.app.stand_in import squares, stroke_on

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

HEIGHT, WIDTH = 96, 128
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
TRUTH = squares(height=HEIGHT, width=WIDTH)[1]


def write_video(folder: Path) -> Path:
    """A folder of frames with two moving squares."""
    folder.mkdir(parents=True)
    for index, image in enumerate(squares(height=HEIGHT, width=WIDTH)[0]):
        cv2.imwrite(str(folder / f"{index:05d}.png"), image[..., ::-1])
    return folder


class SquaresUser(User):
    """Somebody who works on the squares."""

    def ask_to_open(self, folder: Path) -> str:
        """Make a new video in a folder, and have the server open it; the page hears of it when it does."""
        path = str(write_video(folder))
        options = "{method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify({path})}"
        assert self.page.evaluate(f"async (path) => (await fetch('/api/open', {options})).status", path) == 200
        return path

    def open(self, folder: Path) -> SquaresUser:
        """Make a new video in a folder, and open it."""
        path = self.ask_to_open(folder)
        self.wait(f"gis.store.state.video?.path === {path!r}")
        return self.ready()

    def stroke(self, object_id: int) -> None:
        """A stroke along the middle of a square on the frame that is shown."""
        frame = self.look("gis.store.frame")
        self.draw(stroke_on(frame, object_id, height=HEIGHT, width=WIDTH))


@pytest.fixture
def start() -> Iterator[type[Server]]:
    """Starts servers; they end with the test."""
    started: list[Server] = []

    def make(*arguments: str, **options: float) -> Server:
        started.append(Server(*arguments, **options))
        return started[-1]

    yield make
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a server that opens videos from it; starting one takes seconds."""
    folder = tmp_path_factory.mktemp("videos")
    server = Server("--folders", str(folder))
    yield folder, server.address
    server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as running:
        yield running


@pytest.fixture
def sit(browser) -> Iterator[type[SquaresUser]]:
    """Opens pages; at the end none may have had a script error."""
    users: list[SquaresUser] = []

    def make(address: str) -> SquaresUser:
        users.append(SquaresUser(browser, address))
        return users[-1]

    yield make
    for user in users:
        user.close()


def test_the_empty_page_says_what_to_do_and_opens_a_video(sit, shared):
    """The first of all: nothing is open on the shared server yet."""
    folder, address = shared
    write_video(folder / "squares")
    user = sit(address)
    user.wait("window.gis && !document.querySelector('#empty').hidden")
    user.wait("document.querySelector('#empty-files li')")
    text = user.page.inner_text("#empty")
    for word in ("Open", "Draw", "Run", "squares"):
        assert word in text
    user.page.click("#empty-files li button:has-text('squares')")
    user.wait("gis.store.state.video")
    user.ready()
    assert user.page.is_hidden("#empty")
    assert user.look("gis.store.object") == 1  # the first object is ready to be drawn


def test_draw_run_follow_the_guidance_add_an_object_undo_and_redo(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "draw")
    assert "Draw over an object" in user.page.inner_text("#hint")
    user.go_to(5)
    before = user.pixel(0.95, 0.95)
    user.stroke(1)
    user.draw([[0.9, 0.9], [0.9, 0.95]], button="right")
    assert [m["object_id"] for m in user.look("gis.store.state.marks[5]")] == [1, 0]
    user.press("Enter")  # only this frame
    user.wait("gis.store.state.predicted === 1")
    np.testing.assert_array_equal(user.mask(), np.where(TRUTH[5] == 1, 1, 0))
    assert user.pixel(0.95, 0.95) == before
    user.run()
    assert user.look("gis.store.state.predicted") == 12
    for frame in (0, 8):
        user.go_to(frame)
        np.testing.assert_array_equal(user.mask(), np.where(TRUTH[frame] == 1, 1, 0))
        assert user.look("gis.store.scores[gis.store.frame]") > 0

    # Guidance: never the frame that was just annotated; the keys lead to what the page shows.
    four = user.look("gis.store.state.recommended.RS4")
    assert len(four) == 4 and 5 not in four
    for key, frame in zip("abcd", four, strict=True):
        user.press(key)
        user.wait(f"gis.store.frame === {frame}")
    user.page.click("#candidates button:nth-child(2)")
    user.wait(f"gis.store.frame === {four[1]}")
    user.press("n")
    user.wait("gis.store.frame === gis.store.state.recommended.RS1[0]")

    # A second object, after propagation.
    user.page.click("#add-object")
    user.wait("gis.store.object === 2")
    user.ready()
    user.stroke(2)
    user.run()
    frame = user.look("gis.store.frame")
    np.testing.assert_array_equal(user.mask(), TRUTH[frame])

    # Undo everything, then redo everything.
    masks = user.mask()
    revision = user.look("gis.store.state.revision")
    while user.look("gis.store.state.undo"):
        user.press("Control+z")
        revision += 1
        user.wait(f"gis.store.state.revision === {revision}")
    assert not user.mask().any() and user.look("Object.keys(gis.store.state.marks).length") == 0
    while user.look("gis.store.state.redo"):
        user.press("Control+Shift+z")
        revision += 1
        user.wait(f"gis.store.state.revision === {revision}")
    user.go_to(frame)
    np.testing.assert_array_equal(user.mask(), masks)


def test_cancel_in_the_middle_then_kill_the_server_and_go_on(start, sit, tmp_path):
    video = write_video(tmp_path / "squares")
    server = start("--video", str(video), delay=0.15)
    user = sit(server.address).ready()
    user.go_to(5)
    user.stroke(1)
    user.press("r")
    user.wait("gis.store.state.job && gis.store.state.job.done >= 2")
    assert user.page.is_visible("#progress")
    user.press("Escape")
    user.wait("!gis.store.state.job && gis.store.state.undo.label.includes('stopped')")
    reached = user.look("gis.store.state.predicted")
    assert 3 <= reached < 12

    # Run again, and kill the server in the middle of it: no goodbye, no finally.
    user.press("r")
    user.wait("gis.store.state.job && gis.store.state.job.done >= 7")
    server.kill()
    assert "connection to the server is lost" in user.told()
    user.press("o"), user.press("o")
    user.wait("document.querySelector('#messages').children.length === 2")  # and "does not answer", but once

    again = sit(start("--video", str(video)).address).ready()
    assert again.look("gis.store.state.predicted") >= 8
    assert "stopped" in again.look("gis.store.state.undo.label")
    assert again.look("gis.store.frame") == 5  # where the user was
    np.testing.assert_array_equal(again.mask(), np.where(TRUTH[5] == 1, 1, 0))
    again.run()  # the memory came back too: no new stroke is needed
    assert again.look("gis.store.state.predicted") == 12
    again.go_to(11)
    np.testing.assert_array_equal(again.mask(), np.where(TRUTH[11] == 1, 1, 0))


def test_export_and_import_again(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "export")
    user.page.set_input_files(
        "#import-mask", {"name": "m.png", "mimeType": "image/png", "buffer": encode_mask(TRUTH[0])}
    )
    user.wait("gis.store.state.rounds.length === 1")
    np.testing.assert_array_equal(user.mask(), TRUTH[0])
    user.run()
    user.press("s")
    with user.page.expect_download() as download:
        user.page.click("#export-go")
    data = Path(download.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len([n for n in archive.namelist() if n.endswith(".png")]) == 12

    masks = {}
    for frame in (0, 7):
        user.go_to(frame)
        masks[frame] = user.mask()
        np.testing.assert_array_equal(masks[frame], TRUTH[frame])
    user.open(folder / "copy" / "export")
    assert not user.mask().any()
    user.page.click("#open")
    user.page.set_input_files("#import-masks", {"name": "m.zip", "mimeType": "application/zip", "buffer": data})
    user.wait("gis.store.state.predicted === 12")
    for frame in (0, 7):
        user.go_to(frame)
        np.testing.assert_array_equal(user.mask(), masks[frame])


def test_objects_eraser_click_zoom_and_display(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "objects")
    user.page.dblclick("#objects li:first-child .name")
    user.page.keyboard.type("red square")
    user.page.keyboard.press("Enter")
    user.wait("gis.store.state.objects[0].name === 'red square'")
    user.stroke(1)
    user.draw([[0.8, 0.8]])  # no movement: a click
    assert [m["kind"] for m in user.look("gis.store.state.marks[0]")] == ["stroke", "click"]
    user.press("e")
    user.draw([[0.79, 0.8], [0.81, 0.8]])
    assert [m["kind"] for m in user.look("gis.store.state.marks[0]")] == ["stroke"]
    user.press("q")
    user.run()
    x, y = stroke_on(0, 1, height=HEIGHT, width=WIDTH)[1]
    y -= 3 / HEIGHT  # beside the stroke, inside the square
    covered = user.pixel(x, y)
    user.press("h")
    user.wait("!gis.store.display.masks")
    time.sleep(0.2)
    plain = user.pixel(x, y)
    assert plain != covered and plain[0] > 180
    user.press("h")
    scale = user.look("gis.view.scale")
    user.press("+")
    assert user.look("gis.view.scale") > scale
    user.press("f")
    user.wait(f"Math.abs(gis.view.scale - {scale}) < 1e-6")

    # A locked object cannot be drawn; a hidden one is not shown; a deleted one comes back.
    user.page.click("#objects li:first-child button[aria-label^=Lock]")
    user.wait("gis.store.state.objects[0].locked")
    user.page.mouse.click(*user.on_screen(0.5, 0.5))
    assert "locked" in user.told()
    user.page.click("#objects li:first-child button[aria-label^=Unlock]")
    user.wait("!gis.store.state.objects[0].locked")
    user.page.click("#objects li:first-child button[aria-label^=Hide]")
    user.wait("gis.store.state.objects[0].hidden")
    time.sleep(0.3)
    assert user.pixel(x, y) == plain
    user.page.click("#objects li:first-child button[aria-label^=Delete]")
    user.wait("gis.store.state.objects.length === 0")
    assert not user.mask().any()
    user.page.click("#undo")
    user.wait("gis.store.state.objects.length === 1")
    assert user.mask().any()
    user.page.click("#help")
    assert "satisfied" in user.page.inner_text("#help-dialog")


def test_a_range_clearing_strokes_and_choosing_faster_than_the_server_answers(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "range")
    user.look(
        "['o', '1'].map((key) => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true})))"
    )
    user.wait("gis.store.state.objects.length === 2")
    user.ready()
    assert user.look("gis.store.object") == 1  # what the user pressed last
    user.page.fill("#frame-number", "6")
    user.look("gis.changed('state')")  # the server says something while the number is being typed
    assert user.page.input_value("#frame-number") == "6"
    user.go_to(5)
    user.stroke(1)
    user.press("Delete")
    user.wait("!gis.store.state.marks[5]")
    assert user.page.is_disabled("#clear")
    user.stroke(1)
    for frame, key in ((3, "["), (7, "]")):
        user.go_to(frame)
        user.press(key)
    user.run()
    # The page asks for all scores once more when a run is over, so they may be a moment behind its end.
    user.wait("gis.store.scores.every((score, f) => (score != null) === (f >= 3 && f <= 7))")
    assert "7 frames are not segmented yet" in user.page.inner_text("#hint")
    user.press("]")  # once more: open at that end again
    user.run()
    assert user.look("gis.store.state.predicted") == 9


def test_every_key_of_the_help_does_what_it_says(sit, shared):
    """Those that the other tests press (Delete, [, ], R, Escape in a run) are not pressed again."""
    folder, address = shared
    user = sit(address).open(folder / "every-key")

    def frame_after(key: str) -> int:
        user.press(key)
        time.sleep(0.1)
        user.ready()
        return user.look("gis.store.frame")

    for key, tool in (("e", "eraser"), ("v", "pan"), ("q", "brush")):
        user.press(key)
        assert user.look("gis.store.tool") == tool
    user.press("o")
    user.wait("gis.store.state.objects.length === 2")
    for key, chosen in (("0", 0), ("1", 1), ("2", 2), ("9", 2)):
        user.press(key)
        assert user.look("gis.store.object") == chosen, key
    going = [("End", 11), ("ArrowLeft", 10), ("Shift+ArrowLeft", 0), ("ArrowLeft", 0), ("ArrowRight", 1)]
    for key, frame in [*going, ("Shift+ArrowRight", 11), ("Home", 0)]:
        assert frame_after(key) == frame, key
    user.stroke(1)
    user.press("Enter")
    user.wait("gis.store.state.predicted === 1")
    user.go_to(8)
    user.stroke(1)
    user.run()
    for key, frame in (("ArrowUp", 0), ("ArrowUp", 0), ("ArrowDown", 8), ("ArrowDown", 8)):
        assert frame_after(key) == frame, key
    recommended = user.look("gis.store.state.recommended")
    assert frame_after("n") == recommended["RS1"][0]
    for key, frame in zip("abcd", recommended["RS4"]):
        assert frame_after(key) == frame
    for key in ("p", " "):
        frame_after("Home")
        user.press(key)
        user.wait("gis.store.frame === 11")
        frame_after("Home")
        # At once, because the film takes half a second only.
        event = f"new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}})"
        user.look(f"[1, 2].map(() => document.body.dispatchEvent({event}))")
        time.sleep(0.7)
        assert user.look("gis.store.frame") == 0
    rounds = "gis.store.state.rounds.length"
    for key, count in (("Control+z", 1), ("Control+y", 2), ("Control+z", 1), ("Control+Shift+z", 2)):
        user.wait("!gis.store.state.job")
        user.press(key)
        user.press(key)  # the propagation, then the round
        user.wait(f"{rounds} === {count}")
        user.ready()
    scale, place = user.look("gis.view.scale"), user.look("gis.view.x")
    user.press("+")
    assert user.look("gis.view.scale") > scale
    user.press("-")
    assert user.look("gis.view.scale") == pytest.approx(scale)
    user.page.mouse.move(*user.on_screen(0.5, 0.5))
    user.page.mouse.wheel(0, -240)
    user.wait(f"gis.view.scale > {scale} * 1.01")
    user.page.mouse.down(button="middle")
    user.page.mouse.move(*[v + 40 for v in user.on_screen(0.5, 0.5)], steps=3)
    user.page.mouse.up(button="middle")
    assert user.look("gis.view.x") != place
    user.press("f")
    user.wait(f"Math.abs(gis.view.scale - {scale}) < 1e-6")
    user.page.locator("#objects li:first-child .name").focus()
    user.press("F2")
    user.page.keyboard.type("left")
    user.press("Enter")
    user.wait("gis.store.state.objects[0].name === 'left'")
    user.page.locator("#canvas").focus()
    user.press("?")
    shown = user.page.inner_text("#help-dialog")
    assert all(text in shown for text in ("satisfied", "erase strokes", "Shift: ten"))
    user.press("Escape")
    user.press("s")
    assert user.page.is_visible("#export-go")
    user.press("Escape")
    assert not user.page.is_visible("#export-go")


def test_two_tabs_see_the_same_session(sit, shared):
    folder, address = shared
    first = sit(address).open(folder / "tabs")
    second = sit(address).ready()
    first.stroke(1)
    second.wait("Object.keys(gis.store.state.marks).length === 1")
    first.run()
    second.wait("gis.store.state.predicted === 12 && !gis.store.state.job")
    np.testing.assert_array_equal(second.mask(), first.mask())
    # A tab that missed the news is told, and shows the latest state.
    second.look("gis.store.state.revision -= 1")
    second.page.click("#add-object")
    assert "another tab" in second.told()
    second.wait("gis.store.state.revision === 4")
    assert second.look("gis.store.state.objects.length") == 1


def test_an_answer_that_comes_late_does_not_bring_back_the_video_before(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "first")
    held = []

    def hold(route) -> None:
        """Keep the first description of the state, as the server gave it, on its way."""
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    user.page.route("**/api/state", hold)
    second = user.ask_to_open(folder / "second")
    while not held:
        user.page.wait_for_timeout(20)
    user.open(folder / "third")
    route, answer = held[0]
    assert answer.json()["video"]["path"] == second
    with user.page.expect_response("**/api/state"):
        route.fulfill(response=answer)
    user.page.wait_for_timeout(200)
    assert user.look("gis.store.state.video.path") == str(folder / "third")
    user.stroke(1)  # and the page can go on


def test_everything_is_reachable_by_keyboard_and_named(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "keys")
    unnamed = user.look(
        """[...document.querySelectorAll('button, input, select, [role=slider]')].filter(e => e.offsetParent && !(
            e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)"""
    )
    assert unnamed == []
    seen = set()
    for _ in range(40):
        user.page.keyboard.press("Tab")
        seen.add(user.look("document.activeElement.id"))
        ring = user.look("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or user.look("document.activeElement.matches('body, .off-screen')")
    assert {"undo", "run", "direction", "add-object", "opacity", "canvas", "timeline", "play"} - seen <= {"undo", "run"}


def test_real_user_evaluation(start, sit, tmp_path):
    root = tmp_path / "DAVIS"
    frames, masks = (root / kind / "480p" / "squares" for kind in ("JPEGImages", "Annotations"))
    frames.mkdir(parents=True), masks.mkdir(parents=True)
    for index, image in enumerate(squares(height=HEIGHT, width=WIDTH)[0]):
        cv2.imwrite(str(frames / f"{index:05d}.jpg"), image[..., ::-1], JPEG)
        (masks / f"{index:05d}.png").write_bytes(encode_mask(TRUTH[index]))
    results = tmp_path / "results"
    options = [
        "--davis",
        "squares",
        "--davis-root",
        str(root),
        "--results-dir",
        str(results),
        "--study-guidance",
        "RS1",
    ]
    user = sit(start(*options).address).ready()
    assert user.look("gis.store.state.objects.length") == 2
    user.page.mouse.click(*user.on_screen(0.5, 0.5))
    assert "Press Start first" in user.told()
    user.page.click("#study button")
    user.wait("gis.store.state.study.started")
    for object_id in (1, 2):
        user.press(str(object_id))
        user.stroke(object_id)
    user.run()
    user.wait("gis.store.frame === gis.store.state.recommended.RS1[0]")  # led there
    assert user.page.is_hidden("#candidates button")
    for hidden in ("#open", "#import-mask-label", "#add-object"):
        assert user.page.is_hidden(hidden)
    user.press("s")
    user.wait("gis.store.state.study.finished")
    lines = (results / "real_user" / "RS1.csv").read_text().splitlines()
    assert lines[0] == ("sequence,obj_id,N_rounds,final_J,final_F,scribble_time,operation_time,finding_time,total_time")
    for object_id, line in zip((1, 2), lines[1:], strict=True):
        name, number, rounds, j, f, *times = line.split(",")
        assert (name, int(number), int(rounds)) == ("squares", object_id, 1)
        assert float(j) > 0.97 and float(f) > 0.97
        scribble, operation, finding, total = map(float, times)
        assert min(scribble, operation, finding) > 0
        assert abs(scribble + operation + finding - total) < 0.001
