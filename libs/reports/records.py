"""What an evaluation records, typed; tables, pictures and the report page are made from nothing else.

Shapes: `F` frames of the video, `O` objects, `R` rounds.  A run has one or more variants (settings that are compared:
guidance, metric, points); a variant has samples (one video with one set of first-round annotations); a sample has
rounds.  Each sample is one file, `<run>/<variant>/samples/<sequence>-<set>.npz`, written atomically after every round
(`libs.reports.storage`), so that a killed run loses the round in progress at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from dataset_torch.errors import UserError
from libs.interactions import FrameAnnotation

Benchmark = Literal["davis", "youtube"]
METRICS = ("J", "F", "J_AND_F")
METRIC_NAMES = {"J": "J", "F": "F", "J_AND_F": "J&F"}


def counted(number: int, noun: str) -> str:
    """`1 sample`, `2 samples`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Variant:
    """One setting of a run; every variant has its own rounds, tables and curves."""

    guidance: str  # wo_RS, RS1 or RS4
    metric: str = "J_AND_F"  # J, F or J_AND_F: ranks the frames for the robot, and is the figure of the tables
    points: int | None = None  # YouTube-iVOS: points per object in the first round

    @property
    def label(self) -> str:
        """Name of the variant's folder, such as `J_AND_F-RS4` or `points05-wo_RS`."""
        first = f"points{self.points:02d}" if self.points is not None else self.metric
        other = f"-{self.metric}" if self.points is not None and self.metric != "J_AND_F" else ""
        return f"{first}{other}-{self.guidance}"

    @property
    def title(self) -> str:
        """Name of the variant for people, such as `J&F, RS4` or `5 points, wo_RS`."""
        first = f"{self.points} points" if self.points is not None else METRIC_NAMES[self.metric]
        other = f", {METRIC_NAMES[self.metric]}" if self.points is not None and self.metric != "J_AND_F" else ""
        return f"{first}{other}, {self.guidance}"


@dataclass(frozen=True)
class RoundRecord:
    """One round of one sample: what was given, what came out, how good it was."""

    round: int  # from 1
    annotated_frame: int
    jaccard: np.ndarray  # float64 F x O, in [0, 1]; nan = does not count for this object
    f_measure: np.ndarray  # float64 F x O, in [0, 1]; nan likewise
    scores: np.ndarray  # float64 F, R-scores after the round, in (0, 1); nan = not scored
    candidates: tuple[int, ...] | None = None  # frames proposed after the round; None = no proposal (wo_RS)
    seconds: float = 0.0  # from receiving the annotation to having every mask; without the robot and the metrics
    empty: bool = False  # the robot found nothing to correct; the masks stayed
    late: bool = False  # the time limit had struck: the values are carried over from the round before
    annotation: FrameAnnotation | None = None  # the strokes and clicks of this round
    picture: str | None = None  # the round's contact sheet, relative to the run's folder

    @property
    def strokes(self) -> int:
        """How many scribbles and clicks the round gave."""
        return 0 if self.annotation is None else len(self.annotation.scribbles) + len(self.annotation.clicks)

    def values(self, metric: str) -> np.ndarray:
        """float64 F x O of the metric `J`, `F` or `J_AND_F` (the mean of the two)."""
        if metric == "J":
            return self.jaccard
        if metric == "F":
            return self.f_measure
        if metric == "J_AND_F":
            return 0.5 * (self.jaccard + self.f_measure)
        raise UserError(f"unknown metric {metric!r}. Choose from {', '.join(METRICS)}.")

    def object_means(self, metric: str) -> np.ndarray:
        """float64 O: the mean over the frames that count; 1 for an object that no frame counts for."""
        means = _mean_without_nan(self.values(metric), axis=0)
        return np.where(np.isnan(means), 1.0, means)

    def frame_means(self, metric: str) -> np.ndarray:
        """float64 F: the mean over the objects; nan where none counts."""
        return _mean_without_nan(self.values(metric), axis=1)


def _mean_without_nan(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean over the entries that are numbers; nan, and no warning, where none is."""
    good = np.isfinite(values)
    count = good.sum(axis=axis)
    # Without gaps the plain mean, so that figures do not depend on how the sum is taken.
    if good.all():
        return values.mean(axis=axis)
    return np.where(count, np.where(good, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class SampleRecord:
    """One video with one set of first-round annotations."""

    sequence: str
    object_ids: tuple[int, ...]
    num_frames: int
    height: int
    width: int
    scribble_set: int = 1  # DAVIS: number of the human scribble file; YouTube-iVOS: always 1
    frame_names: tuple[str, ...] = ()  # file names without suffix; empty = the frame numbers
    rounds: tuple[RoundRecord, ...] = ()
    finished: bool = False  # all rounds were played; otherwise the sample is gone on with
    note: str = ""  # anything a reader should know of this sample

    @property
    def name(self) -> str:
        """Name of the sample's file and its pictures."""
        return f"{self.sequence}-{self.scribble_set:03d}"

    def with_round(self, record: RoundRecord) -> SampleRecord:
        """A copy with one more round."""
        return replace(self, rounds=(*self.rounds, record))

    def object_means(self, metric: str, num_rounds: int | None = None) -> np.ndarray:
        """float64 O x R: per object and round the mean over frames.  Rounds not played repeat the last one."""
        if not self.rounds:
            raise ValueError(f"{self.name} has no round yet")
        rows = np.stack([r.object_means(metric) for r in self.rounds], axis=1)  # O x rounds played
        missing = 0 if num_rounds is None else num_rounds - rows.shape[1]
        return np.concatenate([rows, np.repeat(rows[:, -1:], max(0, missing), axis=1)], axis=1)[:, :num_rounds]


@dataclass(frozen=True)
class TimedSummary:
    """The DAVIS framework's own summary: a curve over seconds.  Field names are those of its JSON."""

    auc: float  # area under the curve over the time limit, in [0, 1]
    threshold: float  # seconds at which `at_threshold` is read off; 60
    at_threshold: float
    seconds: tuple[float, ...]  # mean time of the interactions, accumulated; first 0, last the time limit
    values: tuple[float, ...]  # the metric at these times; first 0


@dataclass(frozen=True)
class VariantRecord:
    """All samples of one variant, in the order of the tables."""

    variant: Variant
    samples: tuple[SampleRecord, ...]
    timed: TimedSummary | None = None  # DAVIS only

    @property
    def num_objects(self) -> int:
        """Objects of all videos, each counted once however many scribble sets a video has."""
        return len({(s.sequence, i) for s in self.samples for i in s.object_ids})

    @property
    def num_frames(self) -> int:
        """Frames of all videos, each video counted once."""
        return sum({s.sequence: s.num_frames for s in self.samples}.values())


@dataclass(frozen=True)
class CheckpointInfo:
    """Which weights a run used."""

    name: str  # file name, without folders
    sha256: str
    architecture: str
    description: str = ""  # one line, such as "our compact network" or "untrained: random weights"


@dataclass(frozen=True)
class RunRecord:
    """Everything about one run."""

    benchmark: Benchmark
    name: str  # of the run's folder
    variants: tuple[VariantRecord, ...]
    num_rounds: int
    command: str  # the exact command line that does it again
    data: str  # what was evaluated on, in words, such as "the bundled sample (5 sequences)"
    checkpoint: CheckpointInfo
    options: dict[str, Any] = field(default_factory=dict)  # the resolved configuration; plain JSON values
    versions: dict[str, str] = field(default_factory=dict)  # package -> version, and "python"
    git_commit: str = ""
    device: str = "cpu"
    started: str = ""  # ISO 8601, UTC
    seconds: float = 0.0  # wall clock of the whole run, over restarts
    notes: tuple[str, ...] = ()  # anything that a reader must know, such as a time limit that struck
    differs: tuple[str, ...] = ()  # what its user did other than the published one; nothing published stands beside it
