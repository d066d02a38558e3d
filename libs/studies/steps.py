"""`python -m libs.studies.steps --davis-root FOLDER --out steps.csv`: what the propagation keeps of a true mask.

A frame is given its true mask, and nothing else is known.  J (mean over objects) of that frame passed through the
network once, of the frames after it, and of what the network decides among on the next one; beside them the mask as it
was ("copied"), and moved by DIS optical flow.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataset_torch.atomic import check_writable, write_atomic
from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames
from libs import checkpoints, device
from libs.interactions import FrameAnnotation
from libs.metrics import jaccard
from libs.scripts import exit_status
from libs.segmenter import Segmenter, SegmenterOptions
from libs.session import Session
from libs.studies.data import DataRoot, StudyVideo, plan_videos
from libs.studies.options import study_parser
from networks.interface import Propagation, aggregate

DISTANCES = (1, 2, 4, 8, 12)  # frames
PARTS = ("transferred", "matched", "warped")  # of the compact network's `Propagation`
LEAST_PIXELS = 60  # objects smaller than this where they are given are left out


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = study_parser("libs.studies.steps", __doc__)
    add = parser.add_argument
    add("--places", type=int, default=4, help="frames per video that are given their mask, spread evenly [%(default)s]")
    add("--out", type=Path, default=None, help="also write the table there, as CSV")
    return parser.parse_args(argv)


def run(argv: Sequence[str] | None = None) -> None:
    """Print the table.  Raises `UserError`."""
    options = arguments(argv)
    if options.places < 1:
        raise UserError("--places must be at least 1.")
    if options.out is not None:
        check_writable(options.out.parent)
    device.set_threads(options.threads)
    plans = plan_videos([DataRoot.parse(text) for text in options.davis_root])
    network = checkpoints.load_network(options.checkpoint).to(device.exact_device(options.device))
    settings = replace(SegmenterOptions.for_network(network), training=True)  # so that results hold the parts
    segmenter = Segmenter(network, options=settings)
    table: dict[str, dict[str, float]] = {}
    for plan in plans:
        table[plan.key] = video_figures(segmenter, plan.load(), options.places)
        print(f"{plan.key}: {_words(table[plan.key])}", flush=True)
    names = [name for name in _columns() if any(name in figures for figures in table.values())]
    table["mean"] = {n: float(np.nanmean([f.get(n, np.nan) for f in table.values()])) for n in names}
    print(f"mean: {_words(table['mean'])}")
    if options.out is not None:
        buffer = io.StringIO()
        rows = [[key, *(f"{figures[n]:.4f}" if n in figures else "" for n in names)] for key, figures in table.items()]
        csv.writer(buffer, lineterminator="\n").writerows([["video", *names], *rows])
        write_atomic(options.out, buffer.getvalue())


def video_figures(segmenter: Segmenter, video: StudyVideo, places: int) -> dict[str, float]:
    """The figures of one video, means over the places where its mask is given; what cannot be measured is missing."""
    collected: dict[str, list[float]] = {}
    last = len(video.frames) - 1
    for first in sorted({int(p) for p in np.linspace(0, max(0, last - DISTANCES[-1]), places)}):
        for name, value in _from(segmenter, video, first):
            collected.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in collected.items()}


@torch.no_grad()
def _from(segmenter: Segmenter, video: StudyVideo, first: int) -> Iterator[tuple[str, float]]:
    """Name and J of everything that follows from the true mask of frame `first`."""
    stop = min(len(video.frames), first + DISTANCES[-1] + 1)
    pictures = np.stack([video.frames.read(i) for i in range(first, stop)])
    given = video.truth[first]
    ids = [i for i in video.object_ids if (given == i).sum() >= LEAST_PIXELS]
    if not ids:
        return
    truth = np.where(np.isin(video.truth[first:stop], ids), video.truth[first:stop], 0)
    session = segmenter.open(ArrayFrames(pictures), object_ids=ids)

    def quality(frame: int, mask: np.ndarray) -> float:
        return float(jaccard(truth[frame][None], mask[None], ids).mean())

    result = segmenter.annotate(session, FrameAnnotation(0, mask=truth[0]))
    yield "given", quality(0, _ids(aggregate(result.propagation.foreground), session))
    for result in segmenter.propagate(session, last=stop - first - 1):
        if result.frame == 1:
            yield from ((name, quality(1, mask)) for name, mask in _parts(result.propagation, session))
            yield "copied", quality(1, truth[0])
            yield "flow", quality(1, _flowed(pictures[0], pictures[1], truth[0], ids))
        if result.frame in DISTANCES:
            yield str(result.frame), quality(result.frame, session.mask(result.frame))


def _parts(output: Propagation, session: Session) -> Iterator[tuple[str, np.ndarray]]:
    """The masks among which the network decides, where it has them."""
    for name in PARTS:
        mask = getattr(output, name, None)  # O x 1 x any size
        if mask is not None:
            whole = F.interpolate(mask.float(), session.geometry.padded_size, mode="bilinear", align_corners=False)
            yield name, _ids(torch.cat([torch.full_like(whole[:1], 0.5), whole])[:, 0], session)


def _ids(probabilities: Tensor, session: Session) -> np.ndarray:
    """(1 + O) x H x W at the padded size -> uint8 ids at the video's."""
    channel = session.geometry.to_original(probabilities.float().cpu()).argmax(0).numpy()
    return np.array([0, *session.object_ids], np.uint8)[channel]


def _flowed(first: np.ndarray, second: np.ndarray, mask: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """`mask` of picture `first` moved to `second` by DIS optical flow."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (second, first)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)  # H x W x 2
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    moved = [
        cv2.remap((mask == i).astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR) for i in ids
    ]
    channel = np.stack([np.full(mask.shape, 0.5, np.float32), *moved]).argmax(0)
    return np.array([0, *ids], np.uint8)[channel]


def _columns() -> tuple[str, ...]:
    return ("given", *PARTS, *map(str, DISTANCES), "copied", "flow")


def _words(figures: dict[str, float]) -> str:
    return " ".join(f"{name} {figures[name]:.3f}" for name in _columns() if name in figures)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    return exit_status(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
