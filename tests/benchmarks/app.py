"""The app on the bundled sample: from a stroke to its mask, frames per second of a run, memory of page and server.

python -m tests.benchmarks.app [--checkpoint compact] [--video FOLDER] [--out results/app/latency.json]

Everything is measured from outside, in a real browser: what a user waits for.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset_torch.atomic import check_writable, write_atomic
from dataset_torch.errors import UserError
from dataset_torch.masks import read_mask
from libs.app.launch import sample_video
from libs.checkpoints import resolve
from libs.scribble_robot import correct_frame, scribble_robot
from libs.scripts import exit_status
from tests.libs.app.browser import CHROMIUM, Server, User, chromium


def server_memory(pid: int) -> float | None:
    """Highest resident memory of a process so far, MiB; `None` where /proc does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def page_memory(user: User) -> float:
    """What the page's scripts hold after a collection, MiB (pictures on the canvas not counted)."""
    session = user.context.new_cdp_session(user.page)
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"] / 2**20


def truth_of(video: Path, frame: int) -> np.ndarray:
    """The ground truth that lies beside the frames in DAVIS layout."""
    video = video.absolute()
    frames = sorted(p for p in video.iterdir() if p.suffix == ".jpg") if video.is_dir() else []
    if not frames or len(video.parents) < 3:
        raise UserError(f"{video} is no folder of .jpg frames. Give one in DAVIS layout: DAVIS/JPEGImages/480p/NAME.")
    root = video.parents[2]
    return read_mask(root / "Annotations" / video.parent.name / video.name / f"{frames[frame].stem}.png")


def measure(video: Path, arguments: list[str]) -> dict[str, float | str | None]:
    """Draw on the first frame, segment it, run, and look at every frame."""
    truth = truth_of(video, 0)
    ids = [int(i) for i in np.unique(truth) if 0 < i < 255]
    strokes = correct_frame(scribble_robot(), truth, np.zeros_like(truth), max(ids))
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        began = time.monotonic()
        server = Server("--video", str(video), "--workspace", folder, *arguments, program=["IVOS_app.py"])
        user = User(browser, server.address).ready()
        figures: dict[str, float | str | None] = {"video": video.name, "start_seconds": time.monotonic() - began}
        try:
            for number in range(2, max(ids) + 1):
                user.press("o")
                user.wait(f"gis.store.state.objects.length === {number}")
            for stroke in strokes:
                points = np.array(stroke["path"])
                points = points[np.linspace(0, len(points) - 1, min(len(points), 12)).round().astype(int)]
                user.press(str(stroke["object_id"]))
                user.draw(np.clip(points, 0.002, 0.998).tolist())
            began = time.monotonic()
            user.press("Enter")
            user.wait("gis.store.state.predicted === 1 && gis.onScreen().mask.ids.some((id) => id > 0)")
            figures["stroke_to_mask_seconds"] = time.monotonic() - began
            frames = user.look("gis.store.state.video.frames")
            began = time.monotonic()
            user.run()
            figures["run_frames_per_second"] = (frames - 1) / (time.monotonic() - began)
            began = time.monotonic()
            for frame in range(frames):
                user.look(f"gis.showFrame({frame})")
                user.ready()
            figures["look_seconds_per_frame"] = (time.monotonic() - began) / frames
            figures["page_mib"] = page_memory(user)
            figures["server_peak_mib"] = server_memory(server.process.pid)
            figures["objects"], figures["frames"] = len(ids), frames
            user.close()
        finally:
            server.kill()
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; with `--out` also write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.app",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", default="compact")
    parser.add_argument("--video", type=Path, default=None, help="frames in DAVIS layout [the bundled sample]")
    parser.add_argument("--out", type=Path, default=None)
    return exit_status(lambda: _measure_and_tell(parser.parse_args(argv)))


def _measure_and_tell(options: argparse.Namespace) -> None:
    video = options.video or sample_video()
    truth_of(video, 0)  # whatever is wrong with the arguments is told first
    resolve(options.checkpoint)
    if options.out is not None:
        check_writable(options.out.parent)
    if CHROMIUM is None:
        print("the app was not measured: there is no Chromium (apt-get install chromium).")
        return
    figures = measure(video, ["--checkpoint", options.checkpoint])
    for name, value in figures.items():
        print(f"{name:24} {value:.3f}" if isinstance(value, float) else f"{name:24} {value}")
    if options.out is not None:
        write_atomic(options.out, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
