"""What an evaluation has done so far, on disk: one JSON file per sample, rewritten whole after every round.

A sample is a sequence with one of its first-round scribble sets.  Files are written atomically, so a run that is killed
loses the round in progress and nothing else; processes that share an evaluation write files of different samples.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError

FORMAT = 1


@dataclass(frozen=True, order=True)
class Sample:
    """A sequence and the number, from 1, of its first-round scribble set."""

    sequence: str
    scribble_set: int


@dataclass
class PlayedRound:
    """One evaluated round.

    `seconds` from scribbles given to masks submitted; `jaccard` and `contour` are F x O lists in [0, 1];
    `next_frame` is the frame that the robot chose, `strokes` what it drew there (dropped when the sample is finished).
    """

    seconds: float
    jaccard: list[list[float]]
    contour: list[list[float]]
    next_frame: int
    strokes: list[dict] = field(default_factory=list)


@dataclass
class PlayedSample:
    """A sample's rounds so far.  `elapsed` is the seconds since its start, robot and measuring included."""

    rounds: list[PlayedRound] = field(default_factory=list)
    elapsed: float = 0.0
    finished: bool = False
    timed_out: bool = False


class Progress:
    """The folder of one evaluation's sample files.

    Args:
        folder: made when needed.
        settings: everything that decides the figures; an evaluation goes on only with the same.

    Raises:
        UserError: The folder holds an evaluation with other settings, or cannot be written.
    """

    def __init__(self, folder: Path, settings: dict):
        self.folder = folder
        path = folder / "settings.json"
        settings = json.loads(json.dumps({"format": FORMAT, **settings}))  # as it is read back: lists, not tuples
        if path.is_file():
            self._compare(settings, _read_json(path))
        else:
            write_atomic(path, json.dumps(settings, indent=1, sort_keys=True))

    def _compare(self, settings: dict, found: object) -> None:
        if settings == found:
            return
        before = found if isinstance(found, dict) else {}
        names = sorted(k for k in {*settings, *before} if settings.get(k) != before.get(k))
        changes = "; ".join(f"{k}: {str(before.get(k))[:60]} before, {str(settings.get(k))[:60]} now" for k in names)
        raise UserError(
            f"{self.folder} holds an evaluation with other settings ({changes}). Use the same settings to continue it, "
            "choose another results folder, or delete this one to start again."
        )

    def _path(self, sample: Sample) -> Path:
        return self.folder / "samples" / f"{sample.sequence}-{sample.scribble_set:03d}.json"

    def read(self, sample: Sample) -> PlayedSample | None:
        """The sample's record; None before its first round is done.  Raises `UserError` if the file is damaged."""
        path = self._path(sample)
        try:
            data = _read_json(path)
        except FileNotFoundError:  # or another process has just removed it, to play the sample again
            return None
        try:
            return PlayedSample(**{**data, "rounds": [PlayedRound(**r) for r in data["rounds"]]})
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}). Delete it to evaluate this sample again.") from error

    def write(self, sample: Sample, record: PlayedSample) -> None:
        """Replace the sample's record.  Raises `UserError` when it cannot be written."""
        # Not dataclasses.asdict: it copies every number of every stroke, which takes longer than all the rest.
        data = {**vars(record), "rounds": [vars(round_record) for round_record in record.rounds]}
        write_atomic(self._path(sample), json.dumps(data))

    def forget(self, sample: Sample) -> None:
        """Remove the sample's record, if there is one."""
        self._path(sample).unlink(missing_ok=True)


def digest(files: list[Path]) -> str:
    """SHA-256 over the contents of `files`, first 16 digits."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Delete it to evaluate this part again.") from error
