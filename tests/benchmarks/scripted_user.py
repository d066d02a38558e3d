"""A scripted user annotates a sequence through the browser, guided and not: J per round.

python -m tests.benchmarks.scripted_user --davis-root DAVIS --sequence libby --rounds 10 --out results/app

It draws what the DAVIS robot would draw on the errors of one frame (`libs.scribble_robot`), with the mouse, on the real
page in front of the real server.  Which frame it corrects next depends on the guidance:

* `RS1`   the frame that the page proposes first;
* `RS4`   the worst of the four candidates (a person sees them as pictures and picks);
* `none`  the middle of the longest stretch without an annotated frame: somebody without guidance who spreads the work.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dataset_torch.atomic import check_writable, write_atomic
from dataset_torch.davis import DavisSequence, open_davis
from dataset_torch.errors import UserError
from libs.checkpoints import resolve, sha256
from libs.metrics import jaccard
from libs.scribble_robot import correct_frame, scribble_robot
from libs.scripts import exit_status
from tests.libs.app.browser import CHROMIUM, Server, User, chromium

GUIDANCE = ("none", "RS1", "RS4")
POINTS = 25  # of a stroke that are drawn, about one a centimetre of mouse movement


def masks_of(user: User, address: str, frames: int) -> np.ndarray:
    """The masks that the server shows: uint8 F x H x W."""
    masks = []
    for frame in range(frames):
        data = user.page.request.get(f"{address}api/masks/{frame}").body()
        width, height = np.frombuffer(data[:8], "<u4")
        masks.append(np.frombuffer(data[8:], np.uint8).reshape(height, width))
    return np.stack(masks)


def next_frame(user: User, guidance: str, annotated: list[int], j: np.ndarray) -> int:
    """The frame to correct now; `j` is the J of every frame, which only a person's eye (RS4) may use."""
    if guidance == "RS1":
        return user.look("gis.store.state.recommended.RS1[0]")
    if guidance == "RS4":
        return min(user.look("gis.store.state.recommended.RS4"), key=lambda frame: j[frame])
    known = sorted(set(annotated))
    edges = [-known[0] - 1, *known, 2 * len(j) - known[-1] - 1]  # the ends count as if mirrored there
    gaps = [(b - a, (a + b) // 2) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return int(np.clip(max(gaps)[1], 0, len(j) - 1))


def correct(user: User, sequence: DavisSequence, frame: int, masks: np.ndarray) -> int:
    """Draw on the errors of a frame with the mouse; returns how many strokes that took."""
    user.go_to(frame)
    strokes = correct_frame(scribble_robot(), sequence.mask(frame), masks[frame], max(sequence.object_ids))
    drawn = 0
    for stroke in strokes:
        object_id = stroke["object_id"]
        if object_id == 0 and not user.look("gis.store.state.rounds.length"):
            continue
        points = np.clip(np.array(stroke["path"]), 0.002, 0.998)
        points = points[np.linspace(0, len(points) - 1, min(len(points), POINTS)).round().astype(int)]
        user.press(str(object_id))
        user.draw(points.tolist())
        drawn += 1
    return drawn


def annotate(sequence: DavisSequence, guidance: str, rounds: int, arguments: list[str]) -> Iterator[dict]:
    """One session in the browser; a row per round."""
    truth = sequence.ground_truth()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        video = str(sequence.frame_files[0].parent)
        server = Server("--video", video, "--workspace", folder, *arguments, program=["IVOS_app.py"])
        try:
            user = User(browser, server.address).ready()
            for _ in sequence.object_ids[1:]:
                user.press("o")
                user.wait("gis.store.drafts.length === 0")
            user.wait(f"gis.store.state.objects.length === {len(sequence.object_ids)}")
            masks = np.zeros_like(truth)
            j = np.zeros(len(truth))
            annotated: list[int] = []
            for number in range(1, rounds + 1):
                frame = len(truth) // 2 if number == 1 else next_frame(user, guidance, annotated, j)
                strokes = correct(user, sequence, frame, masks)
                began = time.monotonic()
                if strokes:
                    user.run()
                seconds = time.monotonic() - began
                annotated.append(frame)
                masks = masks_of(user, server.address, len(truth))
                j = jaccard(truth, masks, sequence.object_ids).mean(axis=1)
                row = {"sequence": sequence.name, "guidance": guidance, "round": number, "frame": frame}
                yield {**row, "strokes": strokes, "J": f"{j.mean():.4f}", "seconds": f"{seconds:.1f}"}
            user.close()
        finally:
            server.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Annotate under every condition and write `scripted_user_<sequence>.csv`."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scripted_user",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--davis-root", type=Path, required=True)
    parser.add_argument("--sequence", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--guidance", default=",".join(GUIDANCE), help="separated by commas [%(default)s]")
    parser.add_argument("--checkpoint", default="compact")
    parser.add_argument("--out", type=Path, default=Path("results/app"), help="folder of the table [%(default)s]")
    return exit_status(lambda: _annotate_all(parser.parse_args(argv)))


def _annotate_all(options: argparse.Namespace) -> None:
    conditions = options.guidance.split(",")
    if unknown := [c for c in conditions if c not in GUIDANCE]:
        raise UserError(f"there is no guidance {unknown[0]!r}. Choose from {', '.join(GUIDANCE)}.")
    sequence = open_davis(options.davis_root, sequences=[options.sequence]).sequences[0]
    identity = sha256(resolve(options.checkpoint))[:12]
    check_writable(options.out)
    if CHROMIUM is None:
        raise UserError("there is no Chromium to draw with (apt-get install chromium).")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for guidance in conditions:
        for row in annotate(sequence, guidance, options.rounds, ["--checkpoint", options.checkpoint]):
            print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
            if not buffer.getvalue():
                writer.writerow([*row, "checkpoint"])
            writer.writerow([*row.values(), identity])
            write_atomic(options.out / f"scripted_user_{sequence.name}.csv", buffer.getvalue())  # as far as it is


if __name__ == "__main__":
    sys.exit(main())
