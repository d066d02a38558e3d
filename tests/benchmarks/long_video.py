"""The app on a long video: seconds to open it, and the server's memory while it is annotated and propagated.

python -m tests.benchmarks.long_video [--frames 10000] [--rounds 2] [--out results/app/long_video.csv] [--app "OPTIONS"]

It renders the video (1920x1080), starts the real server without one, and drives it over HTTP as the page does: open,
stroke on a middle frame, run, look around while it runs, further rounds elsewhere, undo, redo, kill -9, resume.  What
the server holds before the video is opened (Python, PyTorch, the network) is taken as the base.  `above_base_mib` is to
be compared with `budget_mib`: the three settings that bound memory (`--feature-budget-mb`, `--prediction-cache-mb`,
`--frame-cache-mb`) and what the compact network and the decoders work with.  `--app` passes options to the app, for
instance other budgets.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shlex
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from config import parse_config
from dataset_torch.atomic import check_writable, write_atomic
from libs.scripts import exit_status
from tests.libs.app.browser import Server

HEIGHT, WIDTH = 1080, 1920
EVERY = 20.0  # seconds between two samples of a run
WORKING = 512  # MiB beyond the settings: the network at 240x432, decoders, encoded masks, gaps between freed blocks
COLUMNS = ("stage", "seconds", "frames_done", "resident_mib", "peak_mib", "above_base_mib", "budget_mib")


def centre(frame: int) -> tuple[int, int]:
    """Where the disc that is annotated is, in pixels (x, y)."""
    return int(960 + 700 * np.sin(frame / 60)), int(540 + 300 * np.sin(frame / 41))


def render(path: Path, frames: int) -> None:
    """A disc and a box that move over a soft pattern; MPEG-4."""
    noise = np.random.default_rng(0).integers(60, 140, (27, 48, 3), np.uint8)
    background = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (WIDTH, HEIGHT))
    for frame in range(frames):
        image = background.copy()
        x, y = centre(frame)
        cv2.circle(image, (x, y), 130, (30, 30, 220), -1)
        cv2.circle(image, (x - 40, y - 30), 30, (240, 240, 240), -1)
        left, top = int(900 + 800 * np.cos(frame / 90)), int(240 + 150 * np.sin(frame / 70))
        cv2.rectangle(image, (left, top), (left + 120, top + 120), (200, 60, 40), -1)
        writer.write(image)
    writer.release()


def memory(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of the server, MiB (it has no processes below it); `VmHWM` is the highest so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


class Client:
    """What the page asks and commands, without the page."""

    def __init__(self, address: str):
        self.address = address

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.address + path, timeout=600) as answer:
            return answer.read()

    def state(self) -> dict:
        return json.loads(self.get("api/state"))

    def post(self, where: str, **payload: object) -> dict:
        state = self.state()
        if state["video"] is not None:
            payload = {"session": state["session"], "revision": state["revision"], **payload}
        request = urllib.request.Request(
            self.address + where, json.dumps(payload).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def look(self, frame: int) -> None:
        for kind in ("frames", "masks", "thumbnails"):
            self.get(f"api/{kind}/{frame}")


class Measurement:
    """Rows of the table, printed as they come."""

    def __init__(self, budget: float):
        self.budget, self.base, self.rows = budget, 0.0, []

    def add(self, server: Server, stage: str, seconds: float, done: int | str = "") -> None:
        now, peak = memory(server.process.pid), memory(server.process.pid, "VmHWM")
        self.base = self.base or now
        figures = (f"{now:.0f}", f"{peak:.0f}", f"{now - self.base:.0f}", f"{self.budget:.0f}")
        self.rows.append((stage, f"{seconds:.2f}", done, *figures))
        print(*self.rows[-1], flush=True)

    def text(self) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([COLUMNS, *self.rows])
        return buffer.getvalue()


def run(client: Client, frame: int, limit: int) -> Iterator[tuple[float, int]]:
    """Draw a stroke on a frame, run, look around meanwhile; yields (seconds, frames done) now and then.

    Beyond `limit` frames the run is cancelled.
    """
    x, y = centre(frame)
    points = [[(x + d) / WIDTH, (y + 60) / HEIGHT] for d in (-60, 0, 60)]
    client.post("api/commands/mark", frame=frame, mark={"kind": "stroke", "object_id": 1, "points": points})
    began = time.monotonic()
    client.post("api/commands/run")
    number, frames = 0, client.state()["video"]["frames"]
    done = 0
    while (job := client.state()["job"]) is not None:
        done = job["done"]
        yield time.monotonic() - began, done
        if done >= limit:
            client.post("api/cancel")
        number += 1
        client.look(number * 997 % frames)
        time.sleep(EVERY)
    yield time.monotonic() - began, done if done >= limit else frames


def timed(table: Measurement, server: Server, stage: str, work: object) -> None:
    """A row for something that happens once."""
    began = time.monotonic()
    work()
    table.add(server, stage, time.monotonic() - began)


def measure(
    video: Path, folder: Path, rounds: int, limit: int, options: list[str], table: Measurement
) -> Iterator[None]:
    """The whole story; yields whenever there are new rows."""
    arguments = ["--workspace", str(folder), *options]
    server = Server("--folders", str(video.parent), *arguments, program=["IVOS_app.py"])
    try:
        client = Client(server.address)
        table.add(server, "started", 0.0)
        timed(table, server, "opened", lambda: client.post("api/open", path=str(video)))
        frames = client.state()["video"]["frames"]
        timed(table, server, "middle frame shown", lambda: client.look(frames // 2))
        for number in range(rounds):
            frame = frames // 2 if number == 0 else (number * 2 - 1) * frames // (2 * rounds)
            for seconds, done in run(client, frame, limit):
                table.add(server, f"round {number + 1}, frame {frame}", seconds, done)
                yield
        for name in ("undo", "redo"):
            timed(table, server, name, lambda name=name: client.post(f"api/commands/{name}"))
        predicted = client.state()["predicted"]
        server.kill()
        began = time.monotonic()
        server = Server("--video", str(video), *arguments, program=["IVOS_app.py"])
        table.add(server, "killed, started again", time.monotonic() - began)
        assert Client(server.address).state()["predicted"] == predicted
        yield
    finally:
        server.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and with `--out` write a CSV file."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.long_video",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit", type=int, default=1 << 30, help="frames after which a round is cancelled")
    parser.add_argument("--video", type=Path, default=None, help="made by an earlier call; none = render and delete")
    parser.add_argument("--app", default="", help="options for the app, in one string")
    parser.add_argument("--out", type=Path, default=None)
    return exit_status(lambda: _measure_and_write(parser.parse_args(argv)))


def _measure_and_write(given: argparse.Namespace) -> None:
    options = shlex.split(given.app)
    config = parse_config(options)
    if given.out is not None:
        check_writable(given.out.parent)
    table = Measurement(config.feature_budget_mb + config.prediction_cache_mb + config.frame_cache_mb + WORKING)
    with tempfile.TemporaryDirectory() as folder:
        video = given.video or Path(folder) / "films" / "long.mp4"
        if not video.is_file():
            video.parent.mkdir(parents=True, exist_ok=True)
            render(video, given.frames)
        for _ in measure(video, Path(folder) / "sessions", given.rounds, given.limit, options, table):
            if given.out is not None:
                write_atomic(given.out, table.text())


if __name__ == "__main__":
    sys.exit(main())
