"""What is kept of the runs: one JSON file per video, rewritten whole after every run: a killed study goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from libs.studies.play import RoundResult

DIGITS = 4


@dataclass(frozen=True)
class RunKey:
    """Which run on a video, and what it depends on; another identity is another run."""

    method: str
    policy: str
    identity: str  # digest of weights, settings and, where guided, the rule of guidance
    protocol: str  # frames, size and number of rounds

    @property
    def name(self) -> str:
        """The run's name in the file."""
        return f"{self.method}/{self.policy}"


@dataclass
class VideoRecord:
    """The runs on one video."""

    path: Path
    dataset: str
    sequence: str
    num_objects: int = 0
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, dataset: str, sequence: str) -> VideoRecord:
        """What was kept before, or an empty record.  Raises `UserError` for a file that is something else."""
        path = folder / f"{dataset}-{sequence}.json"
        record = cls(path, dataset, sequence)
        if path.is_file():
            try:
                data = json.loads(path.read_text(encoding="utf-8"))
                record.num_objects, record.runs = int(data["num_objects"]), dict(data["runs"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path} is no record of a study ({error}). Delete it, or choose another --out."
                ) from error
        return record

    def get(self, key: RunKey) -> list[RoundResult] | None:
        """The run's rounds, if this very run is kept."""
        run = self.runs.get(key.name)
        if run is None or run["identity"] != key.identity or run["protocol"] != key.protocol:
            return None
        return [_from_json(r) for r in run["rounds"]]

    def put(self, key: RunKey, rounds: list[RoundResult]) -> None:
        """Keep a run, in place of one with another identity, and write the file.

        What another process has kept there in the meantime stays: the file is read again first.
        """
        self.runs = VideoRecord.open(self.path.parent, self.dataset, self.sequence).runs
        self.runs[key.name] = {
            "identity": key.identity,
            "protocol": key.protocol,
            "rounds": [_to_json(r) for r in rounds],
        }
        write_atomic(self.path, self._text())

    def _text(self) -> str:
        lines = [f" {json.dumps(name)}: {json.dumps(self.runs[name])}" for name in sorted(self.runs)]
        head = {"dataset": self.dataset, "sequence": self.sequence, "num_objects": self.num_objects}
        return json.dumps(head)[:-1] + ', "runs": {\n' + ",\n".join(lines) + "\n}}\n"


def _to_json(r: RoundResult) -> dict[str, Any]:
    def numbers(values: np.ndarray) -> list[float | None]:
        return [None if np.isnan(v) else round(float(v), DIGITS) for v in values]

    return {
        "frame": r.frame,
        "empty": r.empty,
        "j": numbers(r.j),
        "f": numbers(r.f),
        "scores": [None if np.isnan(v) else float(f"{v:.6g}") for v in r.scores],
        "seconds": round(r.seconds, 3),
    }


def _from_json(data: dict[str, Any]) -> RoundResult:
    def array(name: str) -> np.ndarray:
        return np.array([np.nan if v is None else v for v in data[name]], np.float64)

    return RoundResult(data["frame"], data["empty"], array("j"), array("f"), array("scores"), data["seconds"])
