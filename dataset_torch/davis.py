"""Data sets in the layout of DAVIS: what is in them, read from the files and checked before any work starts.

<root>/JPEGImages/480p/<sequence>/00000.jpg ...     frames
<root>/Annotations/480p/<sequence>/00000.png ...    one mask of object ids per frame, of the same size
<root>/Scribbles/<sequence>/001.json ...            first-round scribbles, one file per person
<root>/ImageSets/2017/<subset>.txt                  names of sequences, one per line
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.frames import IMAGE_SUFFIXES, TAIL, ImageFolder, is_cut_off, natural_key, upright_size
from dataset_torch.masks import read_mask

VOID = 255
RESOLUTION = "480p"  # the folder below JPEGImages and Annotations
LAYOUT = (
    "Expected layout: JPEGImages/480p/<sequence>/00000.jpg, Annotations/480p/<sequence>/00000.png, "
    "Scribbles/<sequence>/001.json, ImageSets/2017/<subset>.txt."
)


@dataclass(frozen=True)
class DavisSequence:
    """One video with a mask per frame.

    `object_ids` are the ids that occur in the masks, ascending; they need not be 1, 2, 3.  `scribble_files` are the
    first-round scribble sets, in the order of their numbers, which start at 1; empty where there are none.
    """

    name: str
    height: int
    width: int
    frame_files: tuple[Path, ...]
    mask_files: tuple[Path, ...]
    object_ids: tuple[int, ...]
    scribble_files: tuple[Path, ...] = ()

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.frame_files)

    def frames(self) -> ImageFolder:
        """The frames, decoded when they are read."""
        source = ImageFolder(self.frame_files[0].parent, files=list(self.frame_files))
        source.name = self.name
        return source

    def mask(self, frame: int) -> np.ndarray:
        """Ground truth of one frame, uint8 H x W of object ids.  Raises `UserError` if it cannot be read."""
        mask = read_mask(self.mask_files[frame])
        if mask.shape != (self.height, self.width):
            raise UserError(
                f"mask {self.mask_files[frame]} is {mask.shape[1]}x{mask.shape[0]}, its frame "
                f"{self.width}x{self.height}. "
                "Masks must have the size of their frames; resize them with nearest-neighbour interpolation."
            )
        return mask

    def ground_truth(self) -> np.ndarray:
        """Ground truth of all frames, uint8 F x H x W of object ids; costs one byte per pixel of the video."""
        return np.stack([self.mask(frame) for frame in range(self.num_frames)])

    def scribbles(self, number: int) -> dict:
        """First-round scribbles of set `number` (from 1), as `read_scribbles` gives them."""
        return read_scribbles(self.scribble_files[number - 1], self)

    def with_scribbles(self, files: Iterable[Path]) -> DavisSequence:
        """The same sequence with other first-round scribbles; they are checked."""
        sequence = replace(self, scribble_files=tuple(files))
        for file in sequence.scribble_files:
            read_scribbles(file, sequence)
        return sequence


@dataclass(frozen=True)
class DavisDataset:
    """The sequences of one evaluation, in order of their names."""

    root: Path
    sequences: tuple[DavisSequence, ...]

    def __getitem__(self, name: str) -> DavisSequence:
        """The sequence of that name.  Raises `KeyError`."""
        for sequence in self.sequences:
            if sequence.name == name:
                return sequence
        raise KeyError(name)


def open_davis(
    root: str | Path,
    *,
    subset: str | None = None,
    sequences: Sequence[str] | None = None,
) -> DavisDataset:
    """Find and check a data set.

    Every mask is read once (a few ms each, in threads); frames are checked by size and end marker, not decoded.

    Args:
        root: the folder that holds `JPEGImages`, `Annotations`, ...
        subset: name of a file in `ImageSets/2017`, without `.txt`; "val" when nothing else is given.
        sequences: names instead of a subset.

    Returns:
        The sequences in order of their names, each once.

    Raises:
        UserError: Something is missing, damaged or contradictory; the message names the file and what to do.
    """
    root = Path(root).expanduser()
    _check_folders(root)
    if sequences is not None and subset is not None:
        raise UserError("give either a subset or a list of sequences, not both.")
    names = _subset_names(root, subset or "val") if sequences is None else list(sequences)
    if not names:
        raise UserError("no sequence was given. Name at least one, or a subset.")
    available = sorted(p.name for p in (root / "JPEGImages" / RESOLUTION).iterdir() if p.is_dir())
    if unknown := sorted(set(names) - set(available)):
        raise UserError(
            f"{root} has no frames of {', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}. "
            f"Sequences in JPEGImages/{RESOLUTION}: {', '.join(available[:10])}{' ...' if len(available) > 10 else ''}."
        )
    return DavisDataset(root, tuple(_open_sequence(root, name) for name in sorted(set(names))))


def _check_folders(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"the data set folder {root} does not exist. Give the folder that holds JPEGImages. {LAYOUT}")
    for folder in ("JPEGImages", "Annotations"):
        if (root / folder / RESOLUTION).is_dir():
            continue
        if (inner := root / "DAVIS").is_dir():
            raise UserError(f"{root} holds no {folder}/{RESOLUTION}, but a folder DAVIS. Give {inner}.")
        found = ", ".join(sorted(p.name for p in root.iterdir())[:10]) or "nothing"
        raise UserError(f"{root} holds no {folder}/{RESOLUTION} (found: {found}). {LAYOUT}")


def read_names(path: Path) -> list[str]:
    """The names in a list, one a line.  Raises `UserError` if it is no text in UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}). It must be text in UTF-8.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _subset_names(root: Path, subset: str) -> list[str]:
    folder = root / "ImageSets" / "2017"
    path = folder / f"{subset}.txt"
    if not path.is_file():
        found = ", ".join(sorted(p.stem for p in folder.glob("*.txt"))) or "none"
        raise UserError(f"there is no subset {subset!r}: {path} does not exist (subsets found: {found}). {LAYOUT}")
    names = read_names(path)
    if not names:
        raise UserError(f"{path} names no sequence. Write one name per line.")
    return names


def _open_sequence(root: Path, name: str) -> DavisSequence:
    frames = _files(root / "JPEGImages" / RESOLUTION / name, IMAGE_SUFFIXES)
    if not frames:
        raise UserError(f"sequence {name} has zero frames: {root / 'JPEGImages' / RESOLUTION / name} holds no images.")
    folder = root / "Annotations" / RESOLUTION / name
    masks = {path.stem: path for path in _files(folder, (".png",))} if folder.is_dir() else {}
    missing = [path.stem for path in frames if path.stem not in masks]
    if missing:
        raise UserError(
            f"sequence {name}: {len(missing)} of {len(frames)} frames have no mask (first: {folder / missing[0]}.png). "
            "An evaluation needs a mask for every frame."
        )
    if surplus := sorted(set(masks) - {path.stem for path in frames}):
        raise UserError(
            f"sequence {name}: mask {masks[surplus[0]]} has no frame ({len(surplus)} such). "
            "Frames and masks must have the same names."
        )
    width, height = _image_size(frames[0])
    sequence = DavisSequence(name, height, width, tuple(frames), tuple(masks[p.stem] for p in frames), ())
    with ThreadPoolExecutor(max_workers=4) as threads:
        counts = list(threads.map(lambda index: _count_ids(sequence, index), range(len(frames))))
    present = np.flatnonzero(np.sum(counts, axis=0))
    object_ids = tuple(int(i) for i in present if i not in (0, VOID))
    _check_ids(sequence, counts, object_ids)
    sequence = replace(sequence, object_ids=object_ids)
    return sequence.with_scribbles(_scribble_files(root / "Scribbles" / name))


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with one of `suffixes`, in the order of their names; hidden ones are left out."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    return sorted(files, key=lambda path: natural_key(path.name))


def _image_size(path: Path) -> tuple[int, int]:
    """Width and height from the header; a JPEG must have its end marker, or it was cut off."""
    try:
        size = upright_size(path)
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - TAIL, 0))
            tail = file.read()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"frame {path} cannot be read ({error}). Restore the file.") from error
    if is_cut_off(path, tail):
        raise UserError(f"frame {path} is truncated (its JPEG end marker is missing). Restore the file.")
    return size


def _count_ids(sequence: DavisSequence, index: int) -> np.ndarray:
    """256 counts of pixels per id; checks the sizes of frame and mask on the way."""
    size = _image_size(sequence.frame_files[index])
    if size != (sequence.width, sequence.height):
        raise UserError(
            f"frame {sequence.frame_files[index]} is {size[0]}x{size[1]}, the first frame "
            f"{sequence.width}x{sequence.height}. All frames of a sequence must have one size."
        )
    return np.bincount(sequence.mask(index).ravel(), minlength=256)


def _check_ids(sequence: DavisSequence, counts: list[np.ndarray], object_ids: tuple[int, ...]) -> None:
    void = [index for index, count in enumerate(counts) if count[VOID]]
    if void:
        raise UserError(
            f"sequence {sequence.name}: mask {sequence.mask_files[void[0]]} uses the void label 255 ({len(void)} masks "
            "do), which this evaluation cannot leave out. Set these pixels to 0, or to 1 where 255 stands for the one "
            "object, as in DAVIS-2016."
        )
    if not object_ids:
        raise UserError(
            f"sequence {sequence.name}: no mask shows an object, all pixels are 0. There is nothing to evaluate."
        )


def _scribble_files(folder: Path) -> list[Path]:
    """001.json, 002.json, ...; raises `UserError` where a number is left out."""
    if not folder.is_dir():
        return []
    numbers = sorted(int(p.stem) for p in folder.glob("[0-9][0-9][0-9].json"))
    if numbers != list(range(1, len(numbers) + 1)):
        raise UserError(f"{folder} has the scribble files {numbers}; they must be numbered 001.json, 002.json, ...")
    return [folder / f"{number:03d}.json" for number in numbers]


def read_scribbles(path: Path, sequence: DavisSequence) -> dict:
    """Read and check a scribble file.

    Returns the dictionary of the DAVIS format: `{"sequence": name, "scribbles": [one list of strokes per frame]}`, a
    stroke being `{"path": [[x, y], ...] in [0, 1], "object_id": int, ...}`.  Strokes of background have id 0.

    Raises:
        UserError: Unreadable, another sequence's, another number of frames, no stroke at all, or a bad stroke.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"scribbles {path} cannot be read ({error}). Restore the file.") from error
    if not isinstance(data, dict) or not isinstance(data.get("scribbles"), list):
        raise UserError(f'scribbles {path}: expected {{"sequence": ..., "scribbles": [one list per frame]}}.')
    if data.get("sequence") != sequence.name:
        raise UserError(f"scribbles {path} belong to {data.get('sequence')!r}, not to {sequence.name!r}.")
    if len(data["scribbles"]) != sequence.num_frames:
        raise UserError(
            f"scribbles {path} cover {len(data['scribbles'])} frames, the sequence has {sequence.num_frames}. "
            "They belong to another release of the data."
        )
    for frame, strokes in enumerate(data["scribbles"]):
        if not isinstance(strokes, list):
            raise UserError(f"scribbles {path}, frame {frame}: expected a list of strokes.")
        for stroke in strokes:
            _check_stroke(stroke, sequence, f"scribbles {path}, frame {frame}")
    if not any(data["scribbles"]):
        raise UserError(f"scribbles {path} hold no stroke. A first round needs at least one.")
    return data


def _check_stroke(stroke: object, sequence: DavisSequence, where: str) -> None:
    if not isinstance(stroke, dict) or not isinstance(stroke.get("path"), list):
        raise UserError(f'{where}: a stroke needs "path" and "object_id".')
    object_id = stroke.get("object_id")
    if object_id != 0 and object_id not in sequence.object_ids:
        raise UserError(
            f"{where}: unknown object id {object_id!r}; the masks have {', '.join(map(str, sequence.object_ids))}."
        )
    for point in stroke["path"]:
        if not isinstance(point, list) or len(point) != 2 or not all(isinstance(v, (int, float)) for v in point):
            raise UserError(f"{where}: a point is [x, y], two numbers; got {str(point)[:60]}.")
        if not all(math.isfinite(v) for v in point):
            raise UserError(f"{where}: a coordinate is not a finite number ({point}).")
        if not all(0 <= v <= 1 for v in point):
            raise UserError(
                f"{where}: coordinate {point} outside 0 .. 1. Coordinates are fractions of width and height."
            )
