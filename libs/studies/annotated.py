"""`python -m libs.studies.annotated --davis-root FOLDER`: what better annotated frames would be worth.

The rounds of the other studies with the truly worst frames, once with the robot's strokes and once with the true mask
of every annotated frame in their place; J&F of every round, and after the last one by the distance in frames from the
nearest annotated frame.  The second line is what the propagation makes of perfect annotated frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from dataset_torch.errors import UserError
from libs import checkpoints, device
from libs.scripts import exit_status
from libs.segmenter import Segmenter
from libs.studies.data import DataRoot, StudyVideo, plan_videos
from libs.studies.methods import FULL
from libs.studies.options import study_parser
from libs.studies.play import RoundResult, first_round, play
from libs.studies.policies import ORACLE, Policy

DISTANCES = ((0, 0), (1, 1), (2, 3), (4, 8), (9, None))  # frames, from .. to


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = study_parser("libs.studies.annotated", __doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=8, help="rounds of each run [%(default)s]")
    add("--max-frames", type=int, default=None, help="only the first so many frames of each video [all]")
    return parser.parse_args(argv)


def run(argv: Sequence[str] | None = None) -> None:
    """Print the figures.  Raises `UserError`."""
    options = arguments(argv)
    if options.rounds < 1:
        raise UserError("--rounds must be at least 1.")
    device.set_threads(options.threads)
    plans = plan_videos([DataRoot.parse(text) for text in options.davis_root], max_frames=options.max_frames)
    network = checkpoints.load_network(options.checkpoint).to(device.exact_device(options.device))
    segmenter = FULL.build(network)
    for true_masks, given in ((False, "strokes"), (True, "true masks")):
        figures = []
        for plan in plans:
            figures.append(video_figures(segmenter, plan.load(), options.rounds, true_masks=true_masks))
            print(f"{plan.key}, {given}: {_words(figures[-1])}", flush=True)
        mean = np.ma.masked_invalid(figures).mean(axis=0).filled(np.nan)  # of what there is
        print(f"mean, {given}: {_words(mean)}", flush=True)


def video_figures(segmenter: Segmenter, video: StudyVideo, rounds: int, *, true_masks: bool) -> np.ndarray:
    """float64 rounds + 5: J&F of every round, then that of the last by distance (nan where no frame is so far)."""
    start = first_round(segmenter, video, true_masks=true_masks)
    results = play(segmenter, start, Policy(ORACLE), rounds=rounds, true_masks=true_masks)
    return np.array([*(r.quality.mean() for r in results), *by_distance(results)])


def by_distance(results: Sequence[RoundResult]) -> list[float]:
    """J&F after the last round, mean over the frames so far from the nearest annotated one; nan without any."""
    quality = results[-1].quality  # F
    annotated = np.array([r.frame for r in results])
    distance = np.abs(np.arange(len(quality))[:, None] - annotated).min(1)  # F
    means = []
    for first, last in DISTANCES:
        among = quality[(distance >= first) & (distance <= (len(quality) if last is None else last))]
        means.append(float(among.mean()) if len(among) else float("nan"))
    return means


def _words(figures: np.ndarray) -> str:
    rounds, distances = np.split(figures, [-len(DISTANCES)])
    names = [f"{first}-{'' if last is None else last}" if last != first else str(first) for first, last in DISTANCES]
    far = " ".join(f"{name}: {value:.3f}" for name, value in zip(names, distances, strict=True) if value == value)
    return " ".join(f"{value:.3f}" for value in rounds) + f"; frames from an annotated one {far}"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    return exit_status(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
