"""The videos of the studies: DAVIS-layout sequences, shortened and brought to the working size first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset_torch.davis import DavisSequence, open_davis
from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames

SHORT_SIDE = 240  # 854 x 480 becomes 432 x 240
LONG_STEP = 16  # the longer side is rounded to a multiple of this


@dataclass(frozen=True)
class DataRoot:
    """A data set and the name that it has in tables (a path would only mean something on one machine)."""

    name: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> DataRoot:
        """`NAME=PATH`, or a path; its name is then that of the folder, or of its parent if the folder is `DAVIS`."""
        name, separator, path = text.partition("=")
        if separator:
            if not name or not path or "/" in name:
                raise UserError(f"--davis-root {text!r}: expected a folder, or NAME=FOLDER.")
            return cls(name, Path(path).expanduser())
        folder = Path(text).expanduser().resolve()
        return cls(folder.parent.name if folder.name.upper() == "DAVIS" else folder.name, folder)

    def sequences(self) -> list[str] | None:
        """All that it has; `None` where the layout is not there, which `open_davis` explains."""
        folder = self.path / "JPEGImages" / "480p"
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else None


@dataclass(frozen=True)
class StudyVideo:
    """One video in memory, with ids 1..n."""

    dataset: str
    name: str
    frames: ArrayFrames
    truth: np.ndarray  # uint8 F x H x W of ids 0..n
    object_ids: tuple[int, ...]  # 1..n

    @property
    def key(self) -> str:
        """Unique over all data sets."""
        return f"{self.dataset}/{self.name}"


@dataclass(frozen=True)
class VideoPlan:
    """A video that is not read yet, and how much of it is used."""

    dataset: str
    sequence: DavisSequence
    num_frames: int
    first_frame: int = 0

    @property
    def key(self) -> str:
        """Unique over all data sets."""
        return f"{self.dataset}/{self.sequence.name}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that it is brought to."""
        return working_size(self.sequence.height, self.sequence.width)

    def load(self) -> StudyVideo:
        """Read, shorten, resize (frames by area, masks by nearest neighbour) and number the objects from 1.

        Masks lie a quarter of a pixel lower and to the right so (see `dataset_torch.masks.resize_ids`), which costs a
        thousandth or two of J; all figures in results/ were made with them.
        """
        height, width = self.size
        source = self.sequence.frames()
        span = range(self.first_frame, self.first_frame + self.num_frames)
        frames = np.stack([_resize(source.read(i), height, width, cv2.INTER_AREA) for i in span])
        masks = np.stack([_resize(self.sequence.mask(i), height, width, cv2.INTER_NEAREST) for i in span])
        table = np.zeros(256, np.uint8)
        present = [i for i in self.sequence.object_ids if (masks == i).any()]
        if not present:
            raise UserError(
                f"{self.key} shows no object in the {self.num_frames} frames used. Use more of them (--max-frames), or "
                "leave it out (--sequences)."
            )
        table[present] = np.arange(1, len(present) + 1)
        name = self.sequence.name
        return StudyVideo(
            self.dataset, name, ArrayFrames(frames, name=name), table[masks], tuple(range(1, len(present) + 1))
        )


def working_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at a shorter side of 240, the longer to the nearest multiple of 16; small videos stay."""
    short, long = min(height, width), max(height, width)
    if short <= SHORT_SIDE:
        return height, width
    long = max(SHORT_SIDE, round(long * SHORT_SIDE / short / LONG_STEP) * LONG_STEP)
    return (SHORT_SIDE, long) if height <= width else (long, SHORT_SIDE)


def plan_videos(
    roots: Sequence[DataRoot], *, sequences: Sequence[str] | None = None, max_frames: int | None = None
) -> list[VideoPlan]:
    """Every video of every data set, or only those named; each cut to its first `max_frames` frames.

    Raises `UserError` for two data sets of one name, an unknown sequence, or fewer than two frames.
    """
    if len({r.name for r in roots}) < len(roots):
        raise UserError("two data sets have the same name. Name them: --davis-root NAME=FOLDER.")
    if max_frames is not None and max_frames < 2:
        raise UserError(f"--max-frames must be at least 2, not {max_frames}.")
    plans = []
    for root in roots:
        wanted = None if sequences is None else sorted({s for s in sequences if _has(root.path, s)})
        if wanted == []:
            continue
        dataset = open_davis(root.path, sequences=root.sequences() if wanted is None else wanted)
        for sequence in dataset.sequences:
            plans.append(VideoPlan(root.name, sequence, min(sequence.num_frames, max_frames or sequence.num_frames)))
    found = {p.sequence.name for p in plans}
    if unknown := [s for s in sequences or () if s not in found]:
        raise UserError(f"no data set has a sequence {unknown[0]!r}.")
    return plans


def _has(root: Path, name: str) -> bool:
    return (root / "JPEGImages" / "480p" / name).is_dir()


def _resize(array: np.ndarray, height: int, width: int, method: int) -> np.ndarray:
    if array.shape[:2] == (height, width):
        return array
    return cv2.resize(array, (width, height), interpolation=method)
