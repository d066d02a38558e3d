"""The DAVIS interactive evaluation: every sample with every metric and guidance, recorded, resumable, in shares.

The framework (`libs.davis_session`) hands out strokes, measures and chooses frames; the segmenter answers; every round
is on disk before the next one begins.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from config import SAMPLE, Config, as_dict
from dataset_torch.atomic import write_atomic
from dataset_torch.davis import DavisDataset, open_davis
from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs import published, runs
from libs.davis_progress import PlayedSample, Sample
from libs.davis_session import DavisEvaluationSession
from libs.evaluation import arithmetic, load_segmenter, machinery, run_round
from libs.interactions import FrameAnnotation, annotations_from_davis
from libs.progress import RunProgress
from libs.reports.pictures import write_round_picture
from libs.reports.records import (
    CheckpointInfo,
    RoundRecord,
    RunRecord,
    SampleRecord,
    TimedSummary,
    Variant,
    VariantRecord,
    counted,
)
from libs.reports.report import write_report
from libs.reports.storage import load_samples
from libs.sample_store import SampleStore
from libs.segmenter import Segmenter
from libs.session import Session

PUBLISHED_ROUNDS = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DavisRun:
    """What is evaluated, checked before any work starts."""

    dataset: DavisDataset
    variants: tuple[Variant, ...]
    rounds: int

    @property
    def drawn_by_robot(self) -> int:
        """How many sequences have no first-round scribbles of a person, so that the robot draws them."""
        return sum(not sequence.scribble_files for sequence in self.dataset.sequences)

    @property
    def data_name(self) -> str:
        """The data set in one word, for the run's folder."""
        return "sample" if self.dataset.root.resolve() == (SAMPLE / "DAVIS").resolve() else self.dataset.root.name


def prepare(config: Config) -> DavisRun:
    """Read and check the data and the settings.  Raises `UserError` that names cause and remedy."""
    names = config.davis_sequences
    dataset = open_davis(config.davis_root, **({"sequences": names} if names else {"subset": config.davis_subset}))
    metrics, policies = dict.fromkeys(config.metric), dict.fromkeys(config.guidance)
    variants = tuple(Variant(guidance, metric) for metric in metrics for guidance in policies)
    if config.scribbles == "robot":
        dataset = replace(dataset, sequences=tuple(replace(s, scribble_files=()) for s in dataset.sequences))
    return DavisRun(dataset, variants, config.rounds or PUBLISHED_ROUNDS)


def evaluate(
    config: Config, *, segmenter: Segmenter | None = None, checkpoint: CheckpointInfo | None = None
) -> RunRecord | None:
    """Play everything that is not played yet, then write the report; returns the run's record.

    `segmenter` and `checkpoint` replace what the settings name (tests, experiments).  With several processes (`RANK`
    and `WORLD_SIZE`, as `torchrun` sets them) each plays its share, and the main one waits for the others and writes
    the report; the others return `None`.  Raises `UserError` before any work starts where that is possible.
    """
    shard = runs.Shard.from_environment()
    run = prepare(config)
    if run.drawn_by_robot and config.scribbles == "auto":  # `files` refuses, `robot` is asked for
        logger.warning("%s: a person's were not found.", _robot_note(run))
    checkpoint = checkpoint or runs.describe_weights(config.checkpoint, segmenter and segmenter.network)
    segmenter = segmenter or load_segmenter(config, benchmark="davis")
    folder = _open_folder(config, run, segmenter, checkpoint, shard)
    clock = runs.Clock(folder.path / "clock.json", shard)
    with RunProgress(0, log=folder.path / "log.txt", shard=shard) as progress:
        progress.log(f"{runs.command_line()}  process {shard.rank} of {shard.count}")
        variants = tuple(
            _play_variant(config, run, segmenter, folder.path, variant, shard, progress, clock)
            for variant in run.variants
        )
    if not shard.is_main:
        return None
    record = _run_record(config, run, segmenter, checkpoint, folder.path, clock, variants)
    write_report(folder.path, record)
    return record


def _play_variant(
    config: Config,
    run: DavisRun,
    segmenter: Segmenter,
    run_dir: Path,
    variant: Variant,
    shard: runs.Shard,
    progress: RunProgress,
    clock: runs.Clock,
) -> VariantRecord:
    """All samples of one setting, and the framework's own summary (main process only; the others leave it out)."""
    store = SampleStore(run_dir, variant)
    with DavisEvaluationSession(
        run.dataset,
        results_dir=run_dir / variant.label,
        metric=variant.metric,
        max_rounds=run.rounds,
        max_time=config.time_limit,
        shard=(shard.rank, shard.count),
        make_missing_scribbles=config.scribbles != "files",
    ) as session:
        progress.extend(len(session.samples), metric=variant.metric)
        player = _Player(config, segmenter, store, session, progress)
        for sample in session.samples:
            player.catch_up(sample.sequence, sample.scribble_set)
        while session.next():
            player.play_round()
            clock.save()
        player.note_time_out()
        if not shard.is_main:
            return VariantRecord(variant, ())
        _wait_for_others(session, store)
        summary = session.summary()
        write_atomic(run_dir / variant.label / "davisinteractive_report.csv", session.get_report().to_csv(index=False))
    curve = summary.framework["curve"]
    at = summary.framework["metric_at_threshold"]
    timed = TimedSummary(
        summary.auc, at["threshold"], at[variant.metric], tuple(curve["time"]), tuple(curve[variant.metric])
    )
    samples = {(s.sequence, s.scribble_set): s for s in load_samples(run_dir, variant, finished_only=True)}
    ordered = tuple(samples[s.sequence, s.scribble_set] for s in session.all_samples)
    return VariantRecord(variant, ordered, timed)


def _wait_for_others(session: DavisEvaluationSession, store: SampleStore) -> None:
    """Wait until the framework and we have every sample on record, whoever plays it; each is read until it is."""
    waiting = list(session.all_samples)

    def all_finished() -> bool:
        while waiting:
            sequence, scribble_set = waiting[-1].sequence, waiting[-1].scribble_set
            done, record = session.rounds_done(sequence, scribble_set), store.load(sequence, scribble_set)
            if record is None or not (done.finished and record.finished) or _lead(done, record):
                return False
            waiting.pop()
        return True

    runs.wait_until(all_finished, what=f"they play their share of {store.variant.title}")


def _lead(done: PlayedSample, record: SampleRecord) -> int:
    """How many rounds the framework knows of more than we do; a late one is on our record only."""
    return len(done.rounds) - sum(not played.late for played in record.rounds)


@dataclass
class _Playing:
    """The sample in work."""

    sample: Sample
    record: SampleRecord
    session: Session
    frames: FrameSource
    truth: np.ndarray  # uint8 F x H x W
    masks: np.ndarray | None = None  # after the latest round


class _Player:
    """Answers the framework's rounds with the segmenter, and keeps the record of each."""

    def __init__(
        self,
        config: Config,
        segmenter: Segmenter,
        store: SampleStore,
        session: DavisEvaluationSession,
        progress: RunProgress,
    ):
        self.config, self.segmenter, self.store = config, segmenter, store
        self.davis, self.progress = session, progress
        self._now: _Playing | None = None

    def catch_up(self, sequence: str, scribble_set: int) -> None:
        """Bring our record of a sample to where the framework's is: a kill in between leaves it a round behind.

        If they are further apart, or the session to go on from is gone, the sample is played from its first round.
        """
        done = self.davis.rounds_done(sequence, scribble_set)
        record = self.store.load(sequence, scribble_set) or self._new_record(sequence, scribble_set)
        if not self._can_go_on(done, record):
            self.progress.log(f"AGAIN FROM ROUND 1  {record.name}  its files do not belong together")
            self.store.forget(record)
            self.davis.forget(sequence, scribble_set)
            return
        if _lead(done, record):
            data = self.davis.dataset[sequence]
            frames, truth, before = data.frames(), data.ground_truth(), None
            if record.rounds and self.store.has_session(record):
                before = self.store.resume(self.segmenter, record, frames).masks()
            session = self.store.resume_ahead(self.segmenter, record, frames)
            last, masks = done.rounds[-1], session.masks()
            result = self._round_record(session, np.array(last.jaccard), np.array(last.contour), last.seconds)
            playing = _Playing(Sample(sequence, scribble_set), record, session, frames, truth, before)
            record = record.with_round(self._with_picture(playing, result, masks))
            if self.config.save_masks:
                self.store.save_masks(record, masks, record.frame_names)
        if done.timed_out and not record.finished:
            record = _timed_out(record)
        record = replace(record, finished=done.finished)
        if record.rounds:
            self.store.save(record, None)
        if done.finished:
            self.progress.sample_done(self.store.variant, record, earlier=True)
            if self.config.save_masks and not record.rounds[-1].late:
                self.store.warn_without_masks(record)

    def _can_go_on(self, done: PlayedSample, record: SampleRecord) -> bool:
        """Whether the framework's record of a sample and ours are of one evaluation, as far as it got."""
        lead = _lead(done, record)
        if lead or not (done.finished or not record.rounds):
            return lead in (0, 1) and self.store.has_session(record, ahead=lead)
        return done.finished or not record.finished

    def play_round(self) -> None:
        """Play the framework's round in work: of the sample that was played before, or of a new one."""
        davis, variant = self.davis, self.store.variant
        if self._now is None or davis.sample != self._now.sample:
            self.note_time_out()
            self._now = self._open_sample()
        now = self._now
        self.progress.begin(variant, now.record.name, davis.round, davis.max_rounds)
        _, given, _ = davis.get_scribbles(only_last=True)
        annotation = self._annotation(given, now.record)
        outcome = run_round(
            self.segmenter, now.session, annotation, guidance=variant.guidance, progress=self.progress.frame
        )
        with davis.untimed():  # ours, not the method's
            self.store.save_session(now.record, now.session)
        scores = davis.submit_masks(outcome.masks, outcome.candidates)
        if not scores.evaluated:
            return  # the time limit; the next sample's first round, or the end, puts it on record
        result = self._round_record(now.session, scores.jaccard, scores.contour, outcome.seconds)
        with davis.untimed():
            result = self._with_picture(now, result, outcome.masks)
            now.record = replace(now.record.with_round(result), finished=scores.number == davis.max_rounds)
            now.masks = outcome.masks
            if self.config.save_masks:
                self.store.save_masks(now.record, now.masks, now.record.frame_names)
            self.store.save(now.record, now.session)
        self.progress.round_done(variant, now.record, result)
        if now.record.finished:
            self.progress.sample_done(variant, now.record)

    def _open_sample(self) -> _Playing:
        """The framework's sample in work, from nothing or from what an earlier run left."""
        sequence, number = self.davis.sequence, self.davis.sample.scribble_set
        frames, truth = sequence.frames(), sequence.ground_truth()
        record = self.store.load(sequence.name, number) or self._new_record(sequence.name, number)
        if record.rounds:
            session = self.store.resume(self.segmenter, record, frames)
            return _Playing(self.davis.sample, record, session, frames, truth, session.masks())
        session = self.segmenter.open(frames, object_ids=sequence.object_ids)
        return _Playing(self.davis.sample, record, session, frames, truth)

    def note_time_out(self) -> None:
        """Record a sample that the time limit ended."""
        if self._now is None or self._now.record.finished:
            return
        record = _timed_out(self._now.record)
        self._now = None
        self.store.save(record, None)
        self.progress.log(f"TIME LIMIT  {record.name}  {record.note}")
        self.progress.sample_done(self.store.variant, record)

    def _new_record(self, sequence: str, scribble_set: int) -> SampleRecord:
        data = self.davis.dataset[sequence]
        names = tuple(path.stem for path in data.frame_files)
        return SampleRecord(sequence, data.object_ids, data.num_frames, data.height, data.width, scribble_set, names)

    def _annotation(self, given: dict, record: SampleRecord) -> FrameAnnotation:
        """This round's strokes; empty when the robot had nothing to correct."""
        found = annotations_from_davis(given, num_frames=record.num_frames, object_ids=record.object_ids)
        # Were a first-round file to mark several frames, the last one counts (spec: evaluation.md).
        return found[-1] if found else FrameAnnotation(self.davis.annotated_frame)

    def _round_record(
        self, session: Session, jaccard: np.ndarray, f_measure: np.ndarray, seconds: float
    ) -> RoundRecord:
        """The record of the session's latest round."""
        played = session.rounds[-1]
        candidates = session.recommend(self.store.variant.guidance)
        return RoundRecord(
            played.number,
            played.annotation.frame,
            jaccard,
            f_measure,
            session.scores,
            None if candidates is None else tuple(candidates),
            seconds,
            empty=played.empty,
            annotation=played.annotation,
        )

    def _with_picture(self, now: _Playing, result: RoundRecord, masks: np.ndarray) -> RoundRecord:
        if not self.config.pictures or result.empty:
            return result
        picture = write_round_picture(
            self.store.run_dir,
            self.store.variant,
            now.record,
            result,
            frames=now.frames,
            masks=masks,
            previous_masks=now.masks,
            ground_truth=now.truth,
        )
        return replace(result, picture=picture)


def _timed_out(record: SampleRecord) -> SampleRecord:
    """The sample as it ends when the time limit strikes: a late round with the figures of the one before it."""
    note = f"The time limit struck in round {len(record.rounds) + 1}; the figures of the round before are carried on."
    if record.rounds:
        last = record.rounds[-1]
        shape = last.jaccard.shape
    else:
        shape = (record.num_frames, len(record.object_ids))
        zeros = np.zeros(shape)
        last = RoundRecord(0, 0, zeros, zeros, np.full(shape[0], np.nan))
    late = replace(
        last, round=last.round + 1, late=True, empty=False, annotation=None, picture=None, candidates=None, seconds=0.0
    )
    return replace(record.with_round(late), finished=True, note=note)


def _open_folder(
    config: Config, run: DavisRun, segmenter: Segmenter, checkpoint: CheckpointInfo, shard: runs.Shard
) -> runs.RunFolder:
    settings = {
        "checkpoint": checkpoint.sha256,
        "segmenter": segmenter.options.protocol(),
        "precision": arithmetic(config, segmenter),
        "score_foreground": config.score_foreground,
        "data": str(run.dataset.root.resolve()),
        "sequences": [s.name for s in run.dataset.sequences],
        "scribbles": config.scribbles,
        "rounds": run.rounds,
        "time_limit": config.time_limit,
        "variants": [v.label for v in run.variants],
    }
    if shard.count > 1 and not config.resume:
        raise UserError("--resume false is for one process only: delete the run's folder, or give another --run-name.")
    label = "-".join([Path(checkpoint.name).stem, run.data_name, *dict.fromkeys(v.guidance for v in run.variants)])
    return runs.RunFolder.open(
        config.results_dir,
        "davis",
        settings=settings,
        name=config.run_name,
        label=label,
        resume=config.resume,
        machinery=machinery(config, segmenter),
    )


def _run_record(
    config: Config,
    run: DavisRun,
    segmenter: Segmenter,
    checkpoint: CheckpointInfo,
    run_dir: Path,
    clock: runs.Clock,
    variants: tuple[VariantRecord, ...],
) -> RunRecord:
    clock.save()
    where = "the bundled sample" if run.data_name == "sample" else f"data set {run.data_name}"
    late = sum(r.late for v in variants for s in v.samples for r in s.rounds)
    notes = [f"{_robot_note(run)}."] if run.drawn_by_robot else []
    if late:
        notes.append(
            f"The time limit of {config.time_limit:g} s per object struck in {counted(late, 'sample')}: what came "
            "later does not count. On a slower machine it strikes earlier; --time-limit none turns it off."
        )
    return RunRecord(
        "davis",
        run_dir.name,
        variants,
        run.rounds,
        runs.command_line(),
        f"{where} ({counted(len(run.dataset.sequences), 'sequence')})",
        checkpoint,
        options={**as_dict(config), "segmenter": asdict(segmenter.options)},
        versions=runs.versions(),
        git_commit=runs.git_commit(Path(__file__).resolve().parents[1]),
        device=str(segmenter.device),
        started=clock.started,
        seconds=clock.seconds,
        notes=tuple(notes),
        differs=(published.ROBOT_SCRIBBLES,) if run.drawn_by_robot else (),
    )


def _robot_note(run: DavisRun) -> str:
    total = len(run.dataset.sequences)
    return f"First-round scribbles of {run.drawn_by_robot} of {counted(total, 'sequence')} were drawn by the robot"
