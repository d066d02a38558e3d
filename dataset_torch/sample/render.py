"""Render the bundled sample: `python -m dataset_torch.sample.render` (`make sample`).

Needs the Debian package openclipart-png (or its folder: `--clipart`); the result is the same on every run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from dataset_torch.masks import write_mask
from dataset_torch.sample import SAMPLE_DAVIS, SAMPLE_YOUTUBE
from dataset_torch.sample.ingredients import CLIPART, check_drawings
from dataset_torch.sample.scenes import DAVIS_SCENES, YOUTUBE_SCENES, Scene, render_scene
from dataset_torch.sample.strokes import human_scribbles

QUALITY = 85
FRAME_STEP = 5  # YouTube-VOS keeps every fifth frame, and their names say so


def encode_frame(frame: np.ndarray) -> bytes:
    """JPEG bytes of an RGB frame, as the sample stores it."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def write_davis(root: Path, clipart: Path) -> None:
    """All sequences in DAVIS-2017 layout under `root`."""
    for scene in DAVIS_SCENES:
        frames, masks = render_scene(scene, clipart)
        for index, (frame, mask) in enumerate(zip(frames, masks)):
            write_atomic(root / "JPEGImages/480p" / scene.name / f"{index:05d}.jpg", encode_frame(frame))
            write_mask(root / "Annotations/480p" / scene.name / f"{index:05d}.png", mask)
        for number, annotated in enumerate(scene.scribbled, start=1):
            rng = np.random.default_rng([number, *scene.name.encode()])
            scribbles = human_scribbles(rng, scene.name, masks, annotated)
            write_atomic(root / "Scribbles" / scene.name / f"{number:03d}.json", json.dumps(scribbles) + "\n")
        print(f"{scene.name}: {len(frames)} frames, objects {np.unique(masks)[1:].tolist()}")
    names = "".join(f"{scene.name}\n" for scene in DAVIS_SCENES)
    for split in ("train", "val"):
        write_atomic(root / "ImageSets/2017" / f"{split}.txt", names)


def write_youtube(root: Path, clipart: Path) -> None:
    """All videos in YouTube-VOS 2019 layout under `root`."""
    videos = {}
    for scene in YOUTUBE_SCENES:
        frames, masks = render_scene(scene, clipart)
        for index, (frame, mask) in enumerate(zip(frames, masks)):
            name = f"{index * FRAME_STEP:05d}"
            write_atomic(root / "train/JPEGImages" / scene.name / f"{name}.jpg", encode_frame(frame))
            write_mask(root / "train/Annotations" / scene.name / f"{name}.png", mask)
        videos[scene.name] = {"objects": _objects(scene, masks)}
        print(f"{scene.name}: {len(frames)} frames, objects {np.unique(masks)[1:].tolist()}")
    write_atomic(root / "train/meta.json", json.dumps({"videos": videos}, indent=1) + "\n")


def _objects(scene: Scene, masks: np.ndarray) -> dict[str, dict]:
    return {
        str(object_id): {
            "category": category,
            "frames": [f"{i * FRAME_STEP:05d}" for i, mask in enumerate(masks) if (mask == object_id).any()],
        }
        for object_id, category in scene.categories
    }


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status (2 for missing pictures)."""
    parser = argparse.ArgumentParser(prog="python -m dataset_torch.sample.render", description=__doc__)
    parser.add_argument(
        "--clipart", type=Path, default=CLIPART, help="folder of openclipart-png (default: %(default)s)"
    )
    parser.add_argument("--davis", type=Path, default=SAMPLE_DAVIS, help="where the DAVIS layout goes")
    parser.add_argument("--youtube", type=Path, default=SAMPLE_YOUTUBE, help="where the YouTube-VOS layout goes")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        check_drawings(options.clipart)
        write_davis(options.davis, options.clipart)
        write_youtube(options.youtube, options.clipart)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
