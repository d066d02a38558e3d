"""A real server, a real Chromium, and somebody who sits at the page; for tests and measurements."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = os.environ.get("GIS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 90.0  # seconds; the machine may be busy


class Server:
    """The app in a process of its own, which can be killed."""

    def __init__(self, *arguments: str, program: Sequence[str] = ("-m", "tests.libs.app.serve"), delay: float = 0.0):
        """`program`: what Python runs; by default the app with the stand-in network, `delay` seconds a frame slower."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if delay:
            environment["GIS_TEST_DELAY"] = str(delay)
        self.process = subprocess.Popen(
            [sys.executable, *program, "--port", "0", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line.startswith("Open http"), line
        self.address = line.split()[1]

    def interrupt(self) -> int:
        """Press Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        self.process.stdout.close()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process.stdout.close()


@contextlib.contextmanager
def chromium() -> Iterator[object]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


class User:
    """Somebody at the page: draws, presses keys, looks."""

    def __init__(self, chromium, address: str):
        self.context = chromium.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda m: self.faults.append(m.text) if "Security Policy" in m.text else None)
        self.page.goto(address)

    def look(self, expression: str):
        return self.page.evaluate(expression)

    def wait(self, expression: str, *, patience: float = PATIENCE) -> None:
        """Until an expression is true.  (The page's own rules forbid waiting inside it: no eval.)"""
        end = time.monotonic() + patience
        while not self.look(f"Boolean({expression})"):
            assert time.monotonic() < end, (
                f"never became true: {expression}; {self.look('JSON.stringify(gis.store.state)')}"
            )
            time.sleep(0.03)

    def ready(self) -> User:
        self.wait(
            "window.gis && gis.onScreen().frame === gis.store.frame && !gis.onScreen().busy && !gis.store.state.job"
        )
        return self

    def go_to(self, frame: int) -> None:
        # An import's state arrives before its dialog closes, and keys meant for the page behind a dialog are lost.
        self.wait("!document.querySelector('dialog[open]')")
        self.page.fill("#frame-number", str(frame + 1))
        self.page.keyboard.press("Enter")
        self.page.locator("#canvas").focus()
        self.wait(f"gis.store.frame === {frame}")
        self.ready()

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the frame (fractions) is in the window."""
        box = self.page.locator("#canvas").bounding_box()
        view = self.look("({...gis.view, ratio: devicePixelRatio, ...gis.store.state.video})")
        across = (view["x"] + x * view["width"] * view["scale"]) / view["ratio"]
        down = (view["y"] + y * view["height"] * view["scale"]) / view["ratio"]
        return box["x"] + across, box["y"] + down

    def draw(self, points: list[list[float]], *, button: str = "left") -> None:
        revision = self.look("gis.store.state.revision")
        places = [self.on_screen(x, y) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down(button=button)
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up(button=button)
        self.wait(f"gis.store.state.revision > {revision}")
        self.ready()

    def hold(self, points: list[list[float]]) -> None:
        """Draw, and keep the button down."""
        places = [self.on_screen(x, y) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def run(self) -> None:
        """Run, and wait until the page says that it is over (the server may be long before the page)."""
        said = "document.querySelector('#announce').textContent"
        self.look(f"{said} = ''")
        self.press("r")
        self.wait(f"{said}.startsWith('The run')", patience=20 * PATIENCE)
        self.ready()

    def mask(self) -> np.ndarray:
        """The mask that lies over the frame on the canvas."""
        self.ready()
        mask = self.look(
            "(() => { const m = gis.onScreen().mask; return {width: m.width, height: m.height, ids: [...m.ids]}; })()"
        )
        return np.array(mask["ids"], np.uint8).reshape(mask["height"], mask["width"])

    def pixel(self, x: float, y: float) -> list[int]:
        """What the canvas shows at a point of the frame: r, g, b."""
        left, top = self.on_screen(x, y)
        box = self.page.locator("#canvas").bounding_box()
        place = f"{left - box['x']} * devicePixelRatio, {top - box['y']} * devicePixelRatio"
        return self.look(f"[...document.querySelector('#canvas').getContext('2d').getImageData({place}, 1, 1).data]")[
            :3
        ]

    def told(self) -> str:
        self.wait("document.querySelector('#messages').textContent")
        return self.look("document.querySelector('#messages').textContent")

    def close(self) -> None:
        assert self.faults == []
        self.context.close()
