"""The page in a real Chromium, against a real server; the network is the stand-in that segments by colour.

Skipped where there is no Chromium: `apt-get install chromium`, or name one in `GIS_CHROMIUM`.
"""

from __future__ import annotations

import io
import socket
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
        return self.ask_to_open_again(str(write_video(folder)))

    def ask_to_open_again(self, path: str) -> str:
        """Have the server open a video; the page hears of it when it does."""
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = start("--video", str(video), "--port", port, delay=0.15)
    user = sit(server.address).ready()
    user.go_to(5)
    user.stroke(1)
    user.press("r")
    user.wait("gis.store.state.job && gis.store.state.job.done >= 2")
    assert user.page.is_visible("#progress")
    user.page.locator("#last").focus()  # in a field too
    user.press("Escape")
    user.wait("!gis.store.state.job && gis.store.state.undo.label.includes('stopped')")
    user.wait("document.querySelector('#announce').textContent === 'The run was stopped.'")
    user.page.locator("#canvas").focus()
    reached = user.look("gis.store.state.predicted")
    assert 3 <= reached < 12

    # A stroke that does not reach the server waits in the page.
    user.page.route("**/api/commands/mark", lambda route: route.abort())
    user.go_to(5)
    user.hold([[0.8, 0.8], [0.9, 0.8]])
    user.page.mouse.up()
    assert "kept in this page" in user.told()
    assert user.look("gis.store.drafts.length") == 1
    user.page.click("#messages button")
    user.page.locator("#canvas").focus()

    # Run again, and kill the server in the middle of it: no goodbye, no finally.
    user.press("r")
    user.wait("gis.store.state.job && gis.store.state.job.done >= 7")
    server.kill()
    assert "connection to the server is lost" in user.told()
    user.press("o"), user.press("o")
    user.wait("document.querySelector('#messages').children.length === 2")  # and "does not answer", but once

    # The page finds the server that is started in its place, stays where it is, and brings the stroke.
    frame = user.look("gis.store.frame")
    user.page.unroute("**/api/commands/mark")
    address = start("--video", str(video), "--port", port).address
    user.wait("gis.store.connected && gis.store.state.marks[5]")
    assert user.look("gis.store.frame") == frame != 5
    assert user.look("gis.store.state.marks[5].length") == 1 and user.look("gis.store.drafts.length") == 0
    user.press("Control+z")
    user.wait("!gis.store.state.marks[5]")

    again = sit(address).ready()
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
    assert "7 frames are not segmented yet. Press R to run frames 4 to 8" in user.page.inner_text("#hint")
    user.press("]")  # once more: open at that end again
    user.run()
    assert user.look("gis.store.state.predicted") == 9
    # A run that fails is not said to be complete.
    user.look("document.querySelector('#announce').textContent = ''")
    failed = "{type: 'failed', label: 'The run', message: 'it broke.'}"
    user.look(f"import('/static/runs.js').then(({{handle}}) => handle({failed}))")
    assert "It broke" in user.told()
    assert user.look("document.querySelector('#announce').textContent") == ""


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
    user.page.locator("#tool-brush").focus()
    for key, tool in (("ArrowRight", "eraser"), ("ArrowDown", "pan"), ("ArrowRight", "brush"), ("ArrowLeft", "pan")):
        user.press(key)
        assert user.look("gis.store.tool") == tool
        assert user.look("document.activeElement.id") == f"tool-{tool}"
    assert user.look("gis.store.frame") == 0
    # The list is drawn anew by each of these; whoever moves with the Tab key stays where they were.
    control = "document.activeElement.closest('[data-object]')?.dataset.object + document.activeElement.dataset.control"
    user.page.locator("#objects li:first-child .name").focus()
    user.press("Enter")
    assert user.look(control) == "1name"
    for name, field in (("hide", "hidden"), ("lock", "locked")):
        user.page.locator(f"#objects li:first-child [data-control={name}]").focus()
        user.press("Enter")
        user.wait(f"gis.store.state.objects[0].{field}")
        assert user.look(control) == f"1{name}"
    user.page.locator("#objects li:first-child .name").focus()
    user.press("F2")
    user.page.keyboard.type("red")
    user.press("Enter")
    user.wait("gis.store.state.objects[0].name === 'red'")
    assert user.look(control) == "1name"


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


MARKS = "Object.keys(gis.store.state.marks).length"


def pause(page, address: str) -> list:
    """Keep the first thing that the page asks for there on its way, until the test lets it go on (`continue_`)."""
    held: list = []

    def hold(route) -> None:
        held.append(route)
        if len(held) > 1:
            route.continue_()

    page.route(address, hold)
    return held


def test_a_stroke_and_a_name_stay_with_their_video(sit, shared):
    folder, address = shared
    user, other = sit(address).open(folder / "mine"), sit(address)
    own = user.look("gis.store.state.video.path")
    other.ready()

    # The pen is down, or a name half typed, when somebody opens another video.
    user.hold(stroke_on(0, 1, height=HEIGHT, width=WIDTH))
    other.open(folder / "theirs")
    user.wait("gis.store.state.video.path.endsWith('theirs')")
    user.page.mouse.up()
    assert "dropped" in user.told()
    user.ready()
    user.page.dblclick("#objects li:first-child .name")
    user.page.keyboard.type("half a na")
    other.open(folder / "theirs too")
    user.wait("gis.store.state.video.path.endsWith('theirs too') && !document.querySelector('.rename')")
    user.press("Tab")
    user.page.wait_for_timeout(200)
    assert user.look("gis.store.state.objects[0].name") == "Object 1"
    assert user.look("gis.store.state.revision") == 1 and user.look(MARKS) == 0

    # What waits for its turn is refused for another video; the stroke is stored when its own is open again.
    other.ask_to_open_again(own)
    user.wait(f"gis.store.state.video.path === {own!r}")
    user.ready()
    held = pause(user.page, "**/api/commands/add_object")
    user.press("o"), user.press("o")
    user.hold(stroke_on(0, 1, height=HEIGHT, width=WIDTH))
    user.page.mouse.up()
    while not held:
        user.page.wait_for_timeout(20)
    other.open(folder / "a third")
    user.wait("gis.store.state.video.path.endsWith('a third')")
    held[0].continue_()
    user.wait("document.querySelector('#messages').textContent.includes('stored when its own video is open again')")
    assert user.look(MARKS) == 0 and user.look("gis.store.state.objects.length") == 1
    other.ask_to_open_again(own)
    user.wait(f"gis.store.state.video.path === {own!r} && {MARKS} === 1 && !gis.store.drafts.length")
    assert user.look("gis.store.state.marks[0].length") == 1


def test_a_video_that_is_being_uploaded_holds_up_no_stroke(sit, shared, tmp_path):
    folder, address = shared
    user = sit(address).open(folder / "meanwhile")
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for image in squares(height=HEIGHT, width=WIDTH)[0]:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    held = pause(user.page, "**/api/upload/video*")
    user.page.click("#open")
    user.page.wait_for_selector("#open-files input", state="attached")
    user.page.set_input_files("#open-files input", str(film))
    user.page.wait_for_selector("#open-dialog #working:has-text('Uploading film.avi')")
    user.press("Escape")
    user.wait("!document.querySelector('dialog[open]')")
    user.page.wait_for_selector("body > #notices #working")
    user.stroke(1)  # comes back only when the server has it
    assert user.look(MARKS) == 1
    held[0].continue_()
    user.wait("gis.store.state.video.path.endsWith('film.avi')")
    assert user.look(MARKS) == 0
    user.page.wait_for_selector("#working", state="hidden")


def test_nothing_is_drawn_on_a_frame_that_is_not_on_the_screen(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "unseen")
    revision = user.look("gis.store.state.revision")
    place = user.on_screen(0.5, 0.5)
    held = pause(user.page, "**/api/frames/3?*")
    user.page.fill("#frame-number", "4")
    user.press("Enter")
    while not held:
        user.page.wait_for_timeout(20)
    user.page.mouse.click(*place)
    assert "frame 4 is not on the screen" in user.told().lower()
    held[0].fulfill(status=422, json={"error": "frame 3 cannot be decoded."})
    user.wait("gis.onScreen().frame === null")
    user.page.wait_for_timeout(50)
    assert user.pixel(0.5, 0.5) == [0, 0, 0]  # no other frame's picture
    user.page.mouse.click(*place)
    user.page.wait_for_timeout(100)
    assert user.look(MARKS) == 0 and user.look("gis.store.state.revision") == revision
    user.page.unroute("**/api/frames/3?*")

    # Playing stops under the pen, and a stroke ends where its frame leaves the screen.
    user.go_to(2)
    user.look("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'p', bubbles: true}))")
    user.page.mouse.move(*place)
    user.page.mouse.down()
    user.page.mouse.up()
    frame = user.look("gis.store.frame")
    user.page.wait_for_timeout(300)
    assert user.look("gis.store.frame") == frame
    user.go_to(1)
    user.hold([[0.5, 0.5], [0.6, 0.5]])
    user.press("ArrowRight")
    user.page.mouse.move(*user.on_screen(0.9, 0.9))
    user.page.mouse.up()
    user.wait("gis.store.state.marks[1]")
    assert max(y for _, y in user.look("gis.store.state.marks[1][0].points")) < 0.6


def test_strokes_land_under_the_pen_on_another_monitor(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "monitors")
    screen = user.context.new_cdp_session(user.page)
    # Chromium's emulation tells the page only if the window's size changes too; what is in it must not.
    user.look("document.documentElement.style.fontSize = '14px'")  # else it goes by the window
    user.look("Object.assign(document.body.style, {width: '1280px', height: '720px'})")
    user.page.wait_for_timeout(100)
    for ratio, width in ((2, 1281), (1, 1282)):
        size = {"width": width, "height": 720, "mobile": False, "deviceScaleFactor": ratio}
        screen.send("Emulation.setDeviceMetricsOverride", size)
        user.wait(f"devicePixelRatio === {ratio}")
        user.wait(f"document.querySelector('#canvas').width === {ratio} * document.querySelector('#stage').clientWidth")
        user.wait(
            f"document.querySelector('#strip').width === {ratio} * document.querySelector('#timeline').clientWidth"
        )
        user.page.wait_for_timeout(100)
        user.press("Delete")
        user.wait(f"{MARKS} === 0")
        user.draw([[0.25, 0.75], [0.5, 0.5]])
        first = user.look("gis.store.state.marks[0][0].points[0]")
        assert first == pytest.approx([0.25, 0.75], abs=0.01)
        assert user.pixel(0.375, 0.625)[0] > 200  # and the stroke is seen where it was drawn


def test_strokes_of_one_video_are_not_shown_over_another(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "given")
    paths = [user.look("gis.store.state.video.path")]
    user.stroke(1)
    user.press("Enter")
    user.wait("gis.store.state.predicted === 1")
    user.open(folder / "given too")
    paths.append(user.look("gis.store.state.video.path"))
    user.draw([[0.7, 0.7], [0.9, 0.7], [0.9, 0.9]])
    user.press("Enter")
    user.wait("gis.store.state.predicted === 1")
    user.press("h")  # without the masks, only the strokes are left
    for path in paths:
        user.ask_to_open_again(path)
        user.wait(f"gis.store.state.video.path === {path!r}")
        user.ready()
        user.page.wait_for_timeout(100)
        other_place = user.pixel(0.8, 0.7)
        assert (max(other_place) - min(other_place) > 30) == (path == paths[1])


def test_after_an_export_a_run_comes_back_to_where_it_was_begun(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "come-back")
    user.go_to(2)
    user.stroke(1)
    # Before anything is segmented, so the dialog says what is in it.
    user.press("s")
    assert "12 of 12 frames are not segmented" in user.page.inner_text("#export-dialog")
    with user.page.expect_download():
        user.page.click("#export-go")
    user.wait("!document.querySelector('dialog[open]')")
    user.go_to(7)
    user.run()
    assert user.look("gis.store.frame") == 7


def test_a_stroke_that_came_too_late_or_is_very_long_is_stored(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "refused")
    user.ready()
    user.look("gis.store.state.revision -= 1")  # as if another tab had done something a moment ago
    user.hold(stroke_on(0, 1, height=HEIGHT, width=WIDTH))
    user.page.mouse.up()
    user.wait(f"{MARKS} === 1 && !gis.store.drafts.length")
    user.go_to(1)
    user.hold(stroke_on(1, 1, height=HEIGHT, width=WIDTH))
    user.look("gis.store.drafts[0].mark.points.push(...Array.from({length: 30000}, (_, i) => [0.1 + i / 1e5, 0.5]))")
    user.page.mouse.up()
    user.wait("gis.store.state.marks[1]")
    assert user.look("gis.store.state.marks[1][0].points.length") == 20_000
    assert user.look("gis.store.state.marks[1][0].points.at(-1)") == [0.1 + 29_999 / 1e5, 0.5]


def test_what_takes_long_is_seen_and_not_begun_twice(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "long")
    user.stroke(1)
    held = pause(user.page, "**/api/commands/*")
    user.press("Enter")
    user.page.wait_for_selector("#working:has-text('Segmenting this frame')")
    assert user.page.is_disabled("#segment") and user.page.is_disabled("#run")
    user.press("Enter"), user.press("r")
    held[0].continue_()
    user.wait("gis.store.state.predicted === 1")
    user.page.wait_for_selector("#working", state="hidden")
    assert len(held) == 1 and user.look("document.querySelector('#messages').children.length") == 0
    assert user.page.is_enabled("#run")
    # In a dialog the messages are in front, and can be closed.
    user.page.click("#open")
    user.look("import('/static/store.js').then(({tell}) => tell('something'))")
    user.page.click("#open-dialog .message button")
    user.press("Escape")
    user.wait("document.querySelector('#notices').parentNode === document.body")


def test_only_the_buttons_for_drawing_draw_and_two_fingers_move(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "fingers")
    hand = user.context.new_cdp_session(user.page)
    (x, y), (to_x, to_y) = user.on_screen(0.4, 0.4), user.on_screen(0.6, 0.6)
    user.look("document.querySelector('#canvas').addEventListener('pointerdown', () => (window.pressed = true))")
    user.look("addEventListener('mouseup', (event) => event.preventDefault())")  # else it would go back
    for kind, (left, top) in (("mousePressed", (x, y)), ("mouseMoved", (to_x, to_y)), ("mouseReleased", (to_x, to_y))):
        hand.send("Input.dispatchMouseEvent", {"type": kind, "button": "back", "x": left, "y": top, "clickCount": 1})
        assert user.look("gis.store.drafts.length") == 0
    assert user.look("pressed")
    scale = user.look("gis.view.scale")

    def touch(kind: str, *points: tuple[float, float]) -> None:
        there = [{"x": left, "y": top, "id": i} for i, (left, top) in enumerate(points)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": there})

    touch("touchStart", (x, y))
    touch("touchMove", (x + 10, y))
    assert user.look("gis.store.drafts.length") == 1
    touch("touchStart", (x + 10, y), (to_x, to_y))
    assert user.look("gis.store.drafts.length") == 0
    for step in range(1, 6):
        touch("touchMove", (x + 10 - 8 * step, y - 8 * step), (to_x + 8 * step, to_y + 8 * step))
    touch("touchEnd", (x - 30, y - 40))
    touch("touchMove", (x, y))
    touch("touchEnd")
    user.page.wait_for_timeout(100)
    assert user.look("gis.view.scale") > 1.1 * scale
    assert user.look(MARKS) == 0 and user.look("gis.store.drafts.length") == 0
    user.press("f")
    touch("touchStart", (x, y))
    touch("touchMove", (to_x, to_y))
    touch("touchEnd")
    user.wait(f"{MARKS} === 1")  # one finger draws

    # The other end of a pen rubs out, whatever the tool; Chromium cannot be asked to hold one.
    pen = "pointerId: 9, pointerType: 'pen', bubbles: true, cancelable: true"
    user.look(
        f"""(() => {{
            const canvas = document.querySelector('#canvas');
            canvas.setPointerCapture = () => {{}};
            const at = (type, button, clientX, clientY) =>
                canvas.dispatchEvent(new PointerEvent(type, {{{pen}, button, clientX, clientY}}));
            at('pointerdown', 5, {x}, {y}), at('pointermove', -1, {to_x}, {to_y}), at('pointerup', 5, {to_x}, {to_y});
        }})()"""
    )
    user.wait(f"{MARKS} === 0")


def test_every_control_is_inside_the_window_at_any_width(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "a video with quite a long name")
    user.stroke(1)
    user.run()
    cut = """[...document.querySelectorAll('button, select, input, .button, .caption span, .caption b')].filter(
        (e) => e.offsetParent && !e.closest('dialog') && !e.matches('.off-screen, #objects .name')).filter((e) => {
            const box = e.getBoundingClientRect(), around = e.parentElement.getBoundingClientRect();
            return box.left < 0 || box.right > Math.min(innerWidth, around.right + 1) || e.scrollWidth > e.offsetWidth;
        }).map((e) => e.outerHTML)"""
    for width in (1000, 800, 600, 400):
        user.page.set_viewport_size({"width": width, "height": 700})
        user.page.wait_for_timeout(100)
        assert user.look(cut) == [], width
        assert user.look("document.documentElement.scrollWidth") <= width
        for name in ("help", "tool-pan", "next"):
            user.page.click(f"#{name}", trial=True)


def test_a_page_that_is_let_in_no_more_says_where_to_go_on(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "token")
    user.page.route("**/api/events", lambda route: route.fulfill(status=403, json={"error": "no"}))
    user.page.reload()
    assert "Open the address that it printed" in user.told()


def test_a_tab_that_nobody_sees_gives_its_connection_back_and_catches_up(sit, shared):
    folder, address = shared
    user = sit(address)
    user.page.add_init_script(
        "window.streams = []; const Plain = EventSource; window.EventSource = class extends Plain {"
        "constructor(...given) { super(...given); streams.push(this); } }"
    )
    user.page.reload()
    user.open(folder / "hidden")
    user.wait("streams.length === 1 && streams[0].readyState === 1")

    def turn_to(hidden: str) -> None:
        user.look(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
        user.look("document.dispatchEvent(new Event('visibilitychange'))")

    turn_to("true")
    assert user.look("streams[0].readyState") == 2
    sit(address).ready().stroke(1)
    user.page.wait_for_timeout(200)
    assert user.look(MARKS) == 0
    turn_to("false")
    user.wait(f"{MARKS} === 1")
    assert user.look("streams.map((s) => s.readyState)") == [2, 1]


def test_icons_need_no_fetching_and_what_is_dropped_is_imported_or_explained(sit, shared):
    folder, address = shared
    user = sit(address).open(folder / "drop")
    asked: list[str] = []
    user.page.on("request", lambda request: asked.append(request.url) if "svg" in request.url else None)
    icons = "[...document.querySelectorAll('#play svg')].map((e) => getComputedStyle(e).display !== 'none')"
    assert user.look(icons) == [True, False]
    assert user.look(f"document.querySelector('#play').click(), {icons}") == [False, True]
    assert user.look(f"document.querySelector('#play').click(), {icons}") == [True, False]
    assert user.look("document.querySelector('#play use').getBoundingClientRect().width") > 0
    user.page.click("#objects li:first-child button[aria-label^=Hide]")
    user.wait("gis.store.state.objects[0].hidden")
    user.page.wait_for_timeout(100)
    assert asked == []

    drop = """(name, content, isDirectory) => {
        const event = new Event('drop', {bubbles: true, cancelable: true});
        const item = {webkitGetAsEntry: () => ({isDirectory})};
        event.dataTransfer = {items: [item], files: [new File([new Uint8Array(content)], name)]};
        document.body.dispatchEvent(event);
    }"""
    user.look(f"({drop})('frames', [], true)")
    assert "folder cannot be dropped" in user.told()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("00003.png", encode_mask(TRUTH[3]))
    user.look(f"({drop})('masks.zip', {list(buffer.getvalue())}, false)")
    user.wait("gis.store.state.predicted === 1")
    user.go_to(3)
    np.testing.assert_array_equal(user.mask(), TRUTH[3])


def test_a_folder_of_frames_among_others_can_be_opened_and_looked_into(sit, shared):
    folder, address = shared
    write_video(folder / "mixed")
    write_video(folder / "mixed" / "inner")
    user = sit(address).open(folder / "before-mixed")
    user.page.click("#open")
    user.page.click("#open-files li button:has-text('mixed'):has-text('pictures and more')")
    user.page.wait_for_selector("#open-files li:has-text('inner')")
    user.page.click("#open-files li button:has-text('12 pictures in this folder')")
    user.wait("gis.store.state.video.path.endsWith('/mixed')")
    user.ready()
