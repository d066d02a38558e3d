"""A tiny data set in YouTube-VOS layout, and a run on it in another process (to be killed, or to be one of two).

python -m tests.libs.youtube_data ROOT RESULTS [kill after so many rounds]
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from config import Config
from dataset_torch.frames import ArrayFrames
from dataset_torch.masks import write_mask
from libs.reports.records import CheckpointInfo, RunRecord
from libs.sample_store import SampleStore
from libs.segmenter import Segmenter, SegmenterOptions
from libs.youtube_evaluation import evaluate
from tests.fakes import ColourNetwork

CHECKPOINT = CheckpointInfo("colour.pth", "0" * 64, "colour", "for tests")
COLOURS = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255), 7: (255, 255, 0)}


@dataclass
class ArrayVideo:
    """A video in memory."""

    array: np.ndarray
    object_ids: tuple[int, ...]
    name: str = "video"

    @property
    def frame_names(self) -> tuple[str, ...]:
        return tuple(f"{5 * i:05d}" for i in range(len(self.array)))

    @property
    def frames(self) -> ArrayFrames:
        return ArrayFrames(np.zeros((*self.array.shape, 3), np.uint8))

    def mask(self, index: int) -> np.ndarray:
        return self.array[index]

    def masks(self) -> np.ndarray:
        return self.array

    def index_of(self, frame_name: str) -> int:
        return self.frame_names.index(frame_name)


def moving_squares(
    object_ids: tuple[int, ...], height: int, width: int, *, late: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Six frames uint8 6 x H x W x 3 of a square per object, and their masks; the last object comes at frame `late`."""
    frames, masks = np.full((6, height, width, 3), 128, np.uint8), np.zeros((6, height, width), np.uint8)
    for t in range(6):
        for place, object_id in enumerate(object_ids):
            if object_id == object_ids[-1] and t < late:
                continue
            y, x = 3 + 13 * place, 4 + 2 * t + place
            frames[t, y : y + 10, x : x + 10] = COLOURS[object_id]
            masks[t, y : y + 10, x : x + 10] = object_id
    return frames, masks


def write_video(root: Path, name: str, frames: np.ndarray, masks: np.ndarray, *, step: int = 5) -> dict:
    """Write one video, frames numbered by `step`; returns its entry of `meta.json`."""
    objects: dict[str, dict] = {}
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        stem = f"{index * step:05d}"
        path = root / "train" / "JPEGImages" / name / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
        write_mask(root / "train" / "Annotations" / name / f"{stem}.png", mask)
        for object_id in np.unique(mask[mask > 0]):
            objects.setdefault(str(object_id), {"category": "square", "frames": []})["frames"].append(stem)
    return {"objects": objects}


def write_data(root: Path) -> Path:
    """Two videos: `alpha` in landscape with objects 1 and 2, `beta` in portrait with 3 and 7, of which 7 comes late."""
    meta = {
        "alpha": write_video(root, "alpha", *moving_squares((1, 2), 32, 48)),
        "beta": write_video(root, "beta", *moving_squares((3, 7), 48, 32, late=2)),
    }
    (root / "train" / "meta.json").write_text(json.dumps({"videos": meta}))
    return root


def settings(root: Path, results: Path, **changes: object) -> Config:
    """Settings of a run of seconds."""
    plain = {
        "youtube_root": root,
        "results_dir": results,
        "run_name": "run",
        "youtube_point_counts": (5,),
        "guidance": ("wo_RS", "RS1"),
        "rounds": 3,
        "pictures": False,
    }
    return Config(**{**plain, **changes})


def colour_segmenter() -> Segmenter:
    """The segmenter with the colour network, which is right almost everywhere."""
    return Segmenter(ColourNetwork(), options=SegmenterOptions(blend=False), device="cpu")


def play(config: Config) -> RunRecord | None:
    """Evaluate with the colour network."""
    return evaluate(config, segmenter=colour_segmenter(), checkpoint=CHECKPOINT)


def main(root: str, results: str, kill_after: str = "0") -> None:
    torch.set_num_threads(1)
    saved, save = [], SampleStore.save

    def save_and_die(self: SampleStore, *arguments: object) -> None:
        save(self, *arguments)
        saved.append(self)
        if len(saved) == int(kill_after):
            os.kill(os.getpid(), signal.SIGKILL)

    SampleStore.save = save_and_die
    play(settings(Path(root), Path(results)))


if __name__ == "__main__":
    main(*sys.argv[1:])
