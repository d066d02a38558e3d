"""The DAVIS interactive evaluation on any data set of its layout, able to go on after a kill and to be shared.

A loop over `DavisEvaluationSession` is the framework's own loop::

    with DavisEvaluationSession(open_davis(root, subset="val"), results_dir=folder) as session:
        while session.next():
            sequence, scribbles, is_new_sequence = session.get_scribbles()
            ...                                                  # predict, masks uint8 F x H x W
            scores = session.submit_masks(masks, candidates)     # candidates: frames, or None for all
        summary = session.summary()

Underneath works `davisinteractive.session.DavisInteractiveSession(host="localhost")`: it hands out scribbles, measures,
chooses the next frame and lets its robot draw.  Added are other data sets, a time limit that is really off by default,
a record on disk after every round, shards, and the same figures in less time.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dataset_torch.davis import DavisDataset, DavisSequence
from dataset_torch.errors import UserError
from libs import davis_compat
from libs.davis_framework import MIN_NODES, IdleRobot, share_paths, start_framework
from libs.davis_progress import PlayedRound, PlayedSample, Progress, Sample, digest
from libs.davis_registry import RegisteredDataset, translated
from libs.davis_summary import (
    DavisSummary,
    clip_curve,
    merged_report,
    object_table,
    report_rows,
)
from libs.first_scribbles import complete_scribbles
from libs.metrics import area_over_rounds
from libs.reports.records import METRICS

SECONDS_PER_ROUND = 30  # per object; the published runs allow 8 rounds x 30 s and divide the AUC by that time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoundScores:
    """What came of one submission.

    Attributes:
        sample: sequence and scribble set.
        number: the round, from 1.
        evaluated: False when the time limit had passed: the round does not count, and the sample is over.
        jaccard, contour: float64 F x O in [0, 1], objects in ascending order of their ids; empty if not evaluated.
        seconds: from scribbles given to masks submitted.
        next_frame: the frame that the framework chose to correct next; None after the last round.
    """

    sample: Sample
    number: int
    evaluated: bool
    jaccard: np.ndarray
    contour: np.ndarray
    seconds: float
    next_frame: int | None

    def mean(self, metric: str) -> float:
        """Mean of "J", "F" or "J_AND_F" over frames and objects; nan if not evaluated."""
        if not self.evaluated:
            return float("nan")
        per_object = {"J": self.jaccard, "F": self.contour, "J_AND_F": 0.5 * self.jaccard + 0.5 * self.contour}[metric]
        return float(per_object.mean())


class DavisEvaluationSession:
    """An evaluation of all samples (sequence x first-round scribble set) of a data set.

    Object ids are those of the data set's masks, everywhere; inside, the framework works on 1 to O.

    Candidates: frames that do not exist are ignored, as the framework does; None, an empty list, or a list of which
    nothing is left means all frames (the last with a warning).  Frames that the robot drew on before are passed over,
    unless every candidate is such a frame: then the worst of them is taken again.  The frame of the first round's
    scribbles may come again.  Equally bad frames: the earliest.

    Args:
        dataset: from `dataset_torch.davis.open_davis`.
        results_dir: where the evaluation keeps its record (folder `progress`) and scribbles that it made.
        metric: "J", "F" or "J_AND_F": ranks the frames, and is what the summary is about.
        max_rounds: rounds per sample, at least 1.
        max_time: seconds per object for all rounds of a sample, wall clock, robot and measuring included; None: no
            limit.  When it strikes, the round that came late does not count, its sample ends, the figures of the
            round before are carried on, a warning is logged and the summary names the sample.
        horizon: seconds per object over which the AUC is taken when there is no limit; 30 x `max_rounds` if None.
        shard: (rank, world): this process takes every `world`-th sample from `rank` on.
        fast: same figures in less time; False: the framework's own functions.
        make_missing_scribbles: let the robot draw first-round scribbles where a sequence has none.

    Raises:
        UserError: A setting makes no sense, scribbles are missing, or `results_dir` holds another evaluation.
    """

    def __init__(
        self,
        dataset: DavisDataset,
        *,
        results_dir: str | Path,
        metric: str = "J_AND_F",
        max_rounds: int = 8,
        max_time: float | None = None,
        horizon: float | None = None,
        shard: tuple[int, int] = (0, 1),
        fast: bool = True,
        make_missing_scribbles: bool = False,
    ):
        _check_settings(metric, max_rounds, max_time, horizon, shard)
        results_dir = Path(results_dir)
        self.dataset = complete_scribbles(dataset, results_dir / "first_scribbles", make=make_missing_scribbles)
        self.metric, self.max_rounds, self.max_time, self.fast = metric, max_rounds, max_time, fast
        self._progress = Progress(results_dir / "progress", self._settings())
        self.all_samples = tuple(
            Sample(sequence.name, number)
            for sequence in self.dataset.sequences
            for number in range(1, len(sequence.scribble_files) + 1)
        )
        self.samples = self.all_samples[shard[0] :: shard[1]]
        self._record = PlayedSample()
        self._given = False
        self._registered = RegisteredDataset(self.dataset, fast=fast)
        self._framework = start_framework(
            self._registered,
            metric=metric,
            max_rounds=max_rounds,
            max_time=max_time,
            horizon=max_time or horizon or SECONDS_PER_ROUND * max_rounds,
            fast=fast,
            folder=str(self._progress.folder),
        )
        self._service = self._framework.connector.service
        self._robot = self._service.robot
        self._plan()

    def _plan(self) -> None:
        """Have the framework play what this process has not finished."""
        unfinished = set(self.unfinished())
        self._pending = [sample for sample in self.samples if sample in unfinished]
        self._framework.samples = [(self._registered.key(s.sequence), s.scribble_set) for s in self._pending]

    def __enter__(self) -> DavisEvaluationSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the data set out of the framework's tables; afterwards only results can be read."""
        self._registered.close()

    # --- the loop -----------------------------------------------------------------------------------------------

    @property
    def sample(self) -> Sample:
        """The sample in work."""
        return self._pending[self._framework.sample_idx]

    @property
    def sequence(self) -> DavisSequence:
        """The sequence in work."""
        return self.dataset[self.sample.sequence]

    @property
    def round(self) -> int:
        """Number of the round in work, from 1; more than 1 at a sample's start when a killed run is continued."""
        return self._framework.interaction_nb + 1

    @property
    def annotated_frame(self) -> int:
        """Frame of this round: the robot's choice, even if it drew nothing; in round 1 the scribbles' last frame."""
        if self._record.rounds:
            return self._record.rounds[-1].next_frame
        return _last_drawn(self._framework.sample_scribbles or self._first_scribbles())

    def next(self) -> bool:
        """Go to the next round, or the next sample of this shard that is not finished; False when there is none."""
        left = self.sample if self._framework.sample_idx >= 0 else None
        index = self._framework.sample_idx
        more = self._framework.next()
        if self._framework.sample_idx != index:
            if left is not None and not self._record.finished:
                self._time_out(left)
            if more:
                self._open_sample()
        return more

    def get_scribbles(self, *, only_last: bool = False) -> tuple[str, dict, bool]:
        """Strokes of all rounds so far (or of this round), and whether the sample is new to this process.

        Returns:
            Name of the sequence, scribbles in the DAVIS format (`{"sequence", "scribbles": [one list per frame]}`),
            True when a sample begins or a killed run's sample goes on: `round` then says with which round.

        Raises:
            RuntimeError: Called twice without masks submitted between.
        """
        key, scribbles, _ = self._framework.get_scribbles(only_last=only_last)
        share_paths(self._framework.sample_scribbles)
        original = self._registered.to_original(key)
        is_new, self._given = not self._given, True
        return self.sample.sequence, {**translated(scribbles, original), "sequence": self.sample.sequence}, is_new

    def submit_masks(self, masks: np.ndarray, candidates: Iterable[int] | None = None) -> RoundScores:
        """Have the round measured and the next strokes drawn, and put both on disk.

        Args:
            masks: integer F x H x W of the data set's object ids, 0 for background.
            candidates: frames among which the next one is chosen; see the class.

        Raises:
            ValueError: `masks` have another shape, are not integers, or hold an id that is no object's; nothing is
                lost then, and corrected masks may be submitted.
            RuntimeError: `get_scribbles` was not called before.
        """
        if not self._framework.running_model:
            raise RuntimeError("get_scribbles must be called before masks are submitted")
        internal = self._registered.internal_masks(self._registered.key(self.sample.sequence), masks)
        candidates = self._checked_candidates(candidates)
        number, storage = self.round, self._service.storage
        rows = len(storage.report)
        # After the last round nobody sees what the robot would draw.
        self._service.robot = IdleRobot() if self.fast and number == self.max_rounds else self._robot
        self._framework.submit_masks(internal, candidates)
        self._record.elapsed = time.time() - self._framework.sample_start_time
        if len(storage.report) == rows:
            self._time_out(self.sample)
            empty = np.zeros((0, len(self.sequence.object_ids)))
            return RoundScores(self.sample, number, False, empty, empty, float("nan"), None)
        record = self._round_record(storage.report.iloc[rows:])
        self._record.rounds.append(record)
        self._record.finished = number == self.max_rounds
        if self._record.finished:
            for past in self._record.rounds:  # needed to go on only, and most of the file
                past.strokes = []
        self._progress.write(self.sample, self._record)
        share_paths(self._framework.sample_scribbles)
        next_frame = None if self._record.finished else record.next_frame
        scores = np.array(record.jaccard), np.array(record.contour)
        return RoundScores(self.sample, number, True, *scores, record.seconds, next_frame)

    @contextlib.contextmanager
    def untimed(self) -> Iterator[None]:
        """What happens inside, after `get_scribbles` or `submit_masks`, does not count as the method's time."""
        began = time.time()
        try:
            yield
        finally:
            spent = time.time() - began
            if self._framework.interaction_start_time is not None:  # no round is in work after `submit_masks`
                self._framework.interaction_start_time += spent
            self._framework.sample_start_time += spent

    def rounds_done(self, sequence: str, scribble_set: int) -> PlayedSample:
        """What is on disk of a sample, whichever process played it; no rounds if nothing is."""
        return self._progress.read(Sample(sequence, scribble_set)) or PlayedSample()

    def forget(self, sequence: str, scribble_set: int) -> None:
        """Have a sample of this shard played from round 1, whatever is on disk of it.

        For a killed run of which only this part could go on.  Raises `RuntimeError` after the first `next()`.
        """
        if self._framework.sample_idx >= 0:
            raise RuntimeError("samples can be forgotten before the first round only")
        self._progress.forget(Sample(sequence, scribble_set))
        self._plan()

    # --- results ------------------------------------------------------------------------------------------------

    def unfinished(self) -> tuple[Sample, ...]:
        """Samples of all shards that are not finished."""
        records = {sample: self._progress.read(sample) for sample in self.all_samples}
        return tuple(sample for sample, record in records.items() if record is None or not record.finished)

    def get_report(self) -> pd.DataFrame:
        """The framework's report over everything on disk, whichever process made it, in the order of the samples.

        Columns `session_id, sequence, scribble_idx, interaction, object_id, frame, jaccard, contour, j_and_f, timing`.
        """
        return merged_report(self._progress, self.all_samples, lambda name: (name, self.dataset[name].object_ids))

    def object_table(self) -> pd.DataFrame:
        """The published per-object table (`libs.davis_summary.object_table`)."""
        rows = [
            (sample.sequence, sample.scribble_set, object_id)
            for sample in self.all_samples
            for object_id in self.dataset[sample.sequence].object_ids
        ]
        return object_table(self.get_report(), self.metric, self.max_rounds, rows)

    def summary(self) -> DavisSummary:
        """All figures of the finished evaluation.  Raises `UserError` while samples are unfinished."""
        if missing := self.unfinished():
            names = ", ".join(f"{s.sequence}/{s.scribble_set}" for s in missing[:5])
            raise UserError(
                f"{len(missing)} of {len(self.all_samples)} samples are not finished (first: {names}). "
                "Run the evaluation again with the same settings; it goes on where it stopped."
            )
        # The framework sums up its own names and ids.
        report = merged_report(self._progress, self.all_samples, lambda name: (self._registered.key(name), None))
        with self._registered.listed():  # a closed session may still be summed up
            framework, horizon, too_slow = clip_curve(self._service.summarize_report(report), self.metric)
        if too_slow:
            logger.warning(
                "The rounds took longer than the %.0f s that the AUC is taken over: it leaves out the late rounds. "
                "R-AUC does not depend on time.",
                horizon,
            )
        table = self.object_table()
        rounds = tuple(float(table[name].mean()) for name in table.columns if name.startswith("round-"))
        timed_out = tuple(
            f"{s.sequence}/{s.scribble_set}" for s in self.all_samples if self._progress.read(s).timed_out
        )
        return DavisSummary(self.metric, framework, rounds, area_over_rounds(rounds), horizon, too_slow, timed_out)

    # --- inside -------------------------------------------------------------------------------------------------

    def _settings(self) -> dict:
        """Everything that decides the figures."""
        sequences = {
            s.name: [s.num_frames, s.width, s.height, list(s.object_ids), digest(list(s.scribble_files))]
            for s in self.dataset.sequences
        }
        return {
            "metric": self.metric,
            "max_rounds": self.max_rounds,
            "max_time": self.max_time,
            "min_nb_nodes": MIN_NODES,
            "davisinteractive": davis_compat.VERSION,
            "sequences": sequences,
        }

    def _first_scribbles(self) -> dict:
        return self._registered.load_scribble(self._registered.key(self.sample.sequence), self.sample.scribble_set)

    def _open_sample(self) -> None:
        """Take up the sample that the framework has gone to, with what a killed run did of it."""
        self._record = self._progress.read(self.sample) or PlayedSample()
        self._given = False
        storage, framework = self._service.storage, self._framework
        storage.report, storage.annotated_frames = storage.report.iloc[:0], storage.annotated_frames.iloc[:0]
        if not self._record.rounds:
            return
        key = self._registered.key(self.sample.sequence)
        scribbles = self._first_scribbles()
        newest: dict = {}
        for number, record in enumerate(self._record.rounds, start=1):
            rows = report_rows(key, self.sample.scribble_set, number, record)
            storage.report = pd.concat([storage.report, rows], ignore_index=True)
            storage.store_annotated_frame(None, key, self.sample.scribble_set, record.next_frame, False)
            scribbles["scribbles"][record.next_frame] += record.strokes
            lines = [record.strokes if f == record.next_frame else [] for f in range(self.sequence.num_frames)]
            newest = {"sequence": key, "scribbles": lines}
        framework.sample_scribbles, framework.sample_last_scribble = scribbles, newest
        framework.interaction_nb = len(self._record.rounds)
        framework.sample_start_time = time.time() - self._record.elapsed

    def _round_record(self, rows: pd.DataFrame) -> PlayedRound:
        shape = self.sequence.num_frames, len(self.sequence.object_ids)
        jaccard, contour = rows["jaccard"].to_numpy().reshape(shape), rows["contour"].to_numpy().reshape(shape)
        next_frame = int(self._service.storage.annotated_frames["frame"].iloc[-1])
        strokes = self._framework.sample_last_scribble["scribbles"][next_frame]
        seconds = float(rows["timing"].iloc[0])
        return PlayedRound(seconds, jaccard.tolist(), contour.tolist(), next_frame, list(strokes))

    def _time_out(self, sample: Sample) -> None:
        """Say that the time limit has ended `sample`, and put that on disk."""
        done = len(self._record.rounds)
        logger.warning(
            "TIME LIMIT: sequence %s, scribble set %d was stopped after %d of %d rounds (limit %g s per object); the "
            "missing rounds count with the scores of round %d.",
            sample.sequence,
            sample.scribble_set,
            done,
            self.max_rounds,
            self.max_time,
            done,
        )
        self._record.finished = self._record.timed_out = True
        self._progress.write(sample, self._record)

    def _checked_candidates(self, candidates: Iterable[int] | None) -> list[int] | None:
        """Frames that exist; None for all."""
        asked = [] if candidates is None else [int(frame) for frame in candidates]
        usable = sorted({frame for frame in asked if 0 <= frame < self.sequence.num_frames})
        if asked and not usable:
            logger.warning(
                "%s has frames 0 to %d; none of the candidates %s exists, so the next frame is chosen among all.",
                self.sample.sequence,
                self.sequence.num_frames - 1,
                asked[:5],
            )
        return usable or None


def _last_drawn(scribbles: dict) -> int:
    return max(frame for frame, strokes in enumerate(scribbles["scribbles"]) if strokes)


def _check_settings(
    metric: str, max_rounds: int, max_time: float | None, horizon: float | None, shard: tuple[int, int]
) -> None:
    if metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}. Choose one of {', '.join(METRICS)}.")
    if max_rounds < 1:
        raise UserError(f"{max_rounds} rounds make no evaluation. Give at least 1.")
    for name, seconds in (("time limit", max_time), ("horizon", horizon)):
        if seconds is not None and not seconds > 0:
            raise UserError(f"a {name} of {seconds} s makes no sense. Give a positive number, or none.")
    rank, world = shard
    if not 0 <= rank < world:
        raise UserError(f"shard {rank} of {world} does not exist; shards count from 0.")
