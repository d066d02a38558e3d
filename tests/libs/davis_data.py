"""A tiny data set in DAVIS layout, and a run on it in another process (to be killed, or to be one of two).

python -m tests.libs.davis_data ROOT RESULTS [kill after so many rounds] [before-record | in-round]
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from config import Config
from dataset_torch.masks import write_mask
from libs.davis_evaluation import evaluate
from libs.davis_session import DavisEvaluationSession
from libs.reports.records import CheckpointInfo, RunRecord
from libs.sample_store import SampleStore
from libs.segmenter import Segmenter, SegmenterOptions
from tests.fakes import ColourNetwork

CHECKPOINT = CheckpointInfo("colour.pth", "0" * 64, "colour", "for tests")
COLOURS = {1: (250, 20, 20), 2: (20, 250, 20), 3: (20, 20, 250)}


def write_sequence(root: Path, name: str, object_ids: tuple[int, ...], *, frames: int = 6, sets: int = 1) -> None:
    """Noisy squares moving to the right, with the object's colour drifting so that one stroke is not enough."""
    rng = np.random.default_rng(len(name) + 10 * len(object_ids))
    height, width = 48, 64
    for t in range(frames):
        image = rng.normal(128, 25, (height, width, 3))
        mask = np.zeros((height, width), np.uint8)
        for place, object_id in enumerate(object_ids):
            y, x = 3 + 15 * place, 4 + 4 * t + place
            image[y : y + 13, x : x + 16] = np.array(COLOURS[object_id]) + rng.normal(0, 25, (13, 16, 3)) - 9 * t
            mask[y : y + 13, x : x + 16] = object_id
        path = root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
        write_mask(root / "Annotations" / "480p" / name / f"{t:05d}.png", mask)
    for number in range(1, sets + 1):
        lines = []
        for place, object_id in enumerate(object_ids):
            start = [(8 + place + 4 * number) / width, (9 + 15 * place) / height]
            path = [start, [16 / width, (10 + 15 * place) / height]]
            lines.append({"path": path, "object_id": object_id, "start_time": 0, "end_time": 1})
        content = {"sequence": name, "scribbles": [[], lines, *[[] for _ in range(frames - 2)]]}
        path = root / "Scribbles" / name / f"{number:03d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def write_data(root: Path) -> Path:
    """Two sequences, the first with two scribble sets: three samples."""
    write_sequence(root, "alpha", (1, 2), sets=2)
    write_sequence(root, "beta", (1, 2, 3))
    listing = root / "ImageSets" / "2017" / "val.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("alpha\nbeta\n")
    return root


def settings(root: Path, results: Path, **changes: object) -> Config:
    """Three rounds without and with guidance."""
    values = {"run_name": "run", "guidance": ("wo_RS", "RS4"), "rounds": 3, "pictures": False, **changes}
    return Config(davis_root=root, results_dir=results, **values)  # type: ignore[arg-type]


def play(config: Config) -> RunRecord | None:
    """The evaluation with the network that segments by colour."""
    torch.set_num_threads(1)
    segmenter = Segmenter(ColourNetwork(), options=SegmenterOptions(storage="uint8"))
    return evaluate(config, segmenter=segmenter, checkpoint=CHECKPOINT)


def _die_after(rounds: int, where: str) -> None:
    """Arrange that this process is killed once so many rounds are on disk, or just before the last is."""
    done = [0]
    save, submit = SampleStore.save, DavisEvaluationSession.submit_masks

    def saved(self: SampleStore, *arguments: object) -> None:
        save(self, *arguments)
        done[0] += 1
        if done[0] == rounds and where == "after-record":
            os.kill(os.getpid(), signal.SIGKILL)

    def submitted(self: DavisEvaluationSession, *arguments: object) -> object:
        if where == "in-round" and done[0] == rounds - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        result = submit(self, *arguments)
        if where == "before-record" and done[0] == rounds - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    SampleStore.save, DavisEvaluationSession.submit_masks = saved, submitted


if __name__ == "__main__":
    if len(sys.argv) > 3:
        _die_after(int(sys.argv[3]), sys.argv[4])
    play(settings(Path(sys.argv[1]), Path(sys.argv[2]), **dict.fromkeys(os.environ.get("ALSO", "").split(), True)))
