"""The real-user evaluation: a person segments one DAVIS sequence until satisfied, and the time of each part is taken.

As in the published study (spec: the GUI's CSV files): *scribble time* from the beginning of a round's first stroke to
Run, *operation time* while the network computes, *finding time* from its end (or the start) to the next first stroke.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.davis import DavisSequence
from dataset_torch.errors import UserError
from libs.app.controller import Controller
from libs.metrics import j_and_f

Phase = Literal["waiting", "finding", "scribble", "operation", "finished"]
Condition = Literal["wo_RS", "RS1", "RS4"]


@dataclass(frozen=True)
class StudyResult:
    """One row of the table; times in seconds, J and F in [0, 1], averaged over all frames."""

    sequence: str
    obj_id: int
    N_rounds: int
    final_J: float
    final_F: float
    scribble_time: float
    operation_time: float
    finding_time: float
    total_time: float


@dataclass(frozen=True)
class StudyRound:
    """One row of the list of rounds; times in seconds."""

    round: int
    frame: int  # from 0
    scribble_time: float
    operation_time: float
    finding_time: float


class StudyClock:
    """Takes the times.  `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.phase: Phase = "waiting"
        self.times = {"finding": 0.0, "scribble": 0.0, "operation": 0.0}
        self._since = 0.0
        self._pause: Phase = "finding"  # the phase that an unsuccessful operation goes back to

    def _enter(self, phase: Phase, at: float | None = None) -> None:
        now = self.clock()
        at = now if at is None else min(max(at, self._since), now)
        if self.phase in self.times:
            self.times[self.phase] += at - self._since
        self.phase, self._since = phase, at

    def start(self) -> None:
        """The person begins to look at the video."""
        if self.phase == "waiting":
            self._enter("finding")

    def stroke(self, seconds: float) -> None:
        """A stroke is complete that took this long; the first one of a round ends the finding."""
        if self.phase == "finding":
            self._enter("scribble", self.clock() - max(seconds, 0.0))

    def operation_begins(self) -> None:
        """The network begins to compute."""
        if self.phase in ("finding", "scribble"):
            self._pause = self.phase
            self._enter("operation")

    def operation_ends(self, *, good: bool = True) -> None:
        """It is done; `good=False`: it was refused, and the person goes on with what went on before."""
        if self.phase == "operation":
            self._enter("finding" if good else self._pause)

    def finish(self) -> None:
        """The person is satisfied."""
        self._enter("finished")


class Study:
    """One person on one sequence under one condition."""

    def __init__(
        self,
        sequence: DavisSequence,
        condition: Condition,
        folder: Path,
        *,
        truth: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`folder` gets `<condition>.csv` with a row per object, appended to, and the list of rounds."""
        self.sequence, self.condition, self.folder, self.truth = sequence, condition, folder, truth
        self.clock = StudyClock(clock)
        self.rounds: list[StudyRound] = []
        self.written = False
        self._counted = dict(self.clock.times)

    def prepare(self, controller: Controller) -> None:
        """Give the new session the objects of the ground truth."""
        controller.replace_objects(self.sequence.object_ids)

    def check_running(self) -> None:
        """Raise `UserError` unless the clock is running."""
        if self.clock.phase == "waiting":
            raise UserError("press Start first: the clock begins with it.")
        if self.written:
            raise UserError("the evaluation of this sequence is finished. Start the program anew for another one.")

    def run_ended(self, frame: int | None, *, good: bool) -> None:
        """A run is over: with it, a round."""
        self.clock.operation_ends(good=good)
        if good and frame is not None:
            spent = {name: value - self._counted[name] for name, value in self.clock.times.items()}
            self._counted = dict(self.clock.times)
            times = (spent["scribble"], spent["operation"], spent["finding"])
            self.rounds.append(StudyRound(len(self.rounds) + 1, frame, *times))

    def describe(self) -> dict[str, Any]:
        """What the page needs."""
        return {
            "sequence": self.sequence.name,
            "condition": self.condition,
            "guidance": None if self.condition == "wo_RS" else self.condition,
            "truth": self.truth,
            "started": self.clock.phase != "waiting",
            "finished": self.written,
            "rounds": len(self.rounds),
        }

    def finish(self, controller: Controller) -> dict[str, Any]:
        """Stop the clock, measure, and write the tables; returns J and F over all objects, and where it is.

        If the tables cannot be written, the clock stands still and `finish` may be called again.
        """
        self.check_running()
        if not self.rounds:
            raise UserError("nothing was run yet: draw on the objects and run at least once.")
        self.clock.finish()
        found = np.stack([controller.mask(frame) for frame in range(self.sequence.num_frames)])
        j, f, _ = j_and_f(self.sequence.ground_truth(), found, self.sequence.object_ids)  # F x O each
        times = self.clock.times
        spent = (times["scribble"], times["operation"], times["finding"], sum(times.values()))
        results = [
            StudyResult(
                self.sequence.name, object_id, len(self.rounds), float(j[:, o].mean()), float(f[:, o].mean()), *spent
            )
            for o, object_id in enumerate(self.sequence.object_ids)
        ]
        path = self.folder / f"{self.condition}.csv"
        _append(path, StudyResult, results)
        self.written = True
        _append(controller.workspace.folder / "rounds.csv", StudyRound, self.rounds)
        return {"J": float(j.mean()), "F": float(f.mean()), "path": str(path), "results": [asdict(r) for r in results]}


def _append(path: Path, kind: type, rows: list[Any]) -> None:
    """Add rows to a CSV table, with a header if it is new; a killed program leaves the old table whole."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    if not old:
        writer.writerow([f.name for f in fields(kind)])
    for row in rows:
        writer.writerow([f"{v:.4f}" if isinstance(v, float) else v for v in astuple(row)])
    write_atomic(path, old + buffer.getvalue())
