"""The YouTube-iVOS evaluation: every video with every point count and guidance, recorded, resumable, in shares."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config import SAMPLE, Config, as_dict
from dataset_torch.davis import read_names
from dataset_torch.errors import UserError
from dataset_torch.youtube import YouTubeDataset, YouTubeVideo
from libs import published, runs
from libs.evaluation import arithmetic, load_segmenter, machinery, run_round
from libs.progress import RunProgress
from libs.reports.pictures import write_round_picture
from libs.reports.records import CheckpointInfo, RunRecord, SampleRecord, Variant, VariantRecord, counted
from libs.reports.report import write_report
from libs.reports.storage import load_samples
from libs.sample_store import SampleStore
from libs.segmenter import Segmenter
from libs.youtube_points import (
    VideoPoints,
    digest,
    make_points,
    points_annotation,
    points_file,
    read_points,
    write_points,
)
from libs.youtube_session import PUBLISHED_ROUNDS, VideoSimulator, YouTubeOptions


@dataclass(frozen=True)
class YouTubeRun:
    """What is evaluated, checked before any work starts."""

    dataset: YouTubeDataset
    names: tuple[str, ...]  # the videos, in the order of play
    variants: tuple[Variant, ...]
    points: dict[int, dict[str, VideoPoints]]  # point count -> video -> points; a count without file is not in it
    options: YouTubeOptions

    def points_of(self, video: YouTubeVideo, count: int) -> VideoPoints:
        """The first-round points of a video: from the file, or made."""
        return self.points[count][video.name] if count in self.points else make_points(video, count)

    @property
    def samples(self) -> list[tuple[Variant, str]]:
        """Everything to be played, in order."""
        return [(variant, name) for variant in self.variants for name in self.names]


def prepare(config: Config) -> YouTubeRun:
    """Read and check the data, the points and the settings.

    Raises `UserError`: no data there, a list with unknown videos, a points file that is missing or that belongs to
    another release, settings that this benchmark does not have.
    """
    if len(config.metric) != 1:
        raise UserError(
            f"--metric {','.join(config.metric)}: YouTube-iVOS ranks the frames by one metric; J, F and J&F are "
            "reported in any case. Give one."
        )
    counts = tuple(dict.fromkeys(config.youtube_point_counts))
    variants = tuple(Variant(g, config.metric[0], n) for n in counts for g in dict.fromkeys(config.guidance))
    options = YouTubeOptions(
        rounds=config.rounds or PUBLISHED_ROUNDS,
        ranking=config.metric[0],
        repeat_frames=config.youtube_repeat_frames,
        absent=config.youtube_absent,
    )
    points = {}
    if config.youtube_points is not None:
        points = {count: read_points(points_file(config.youtube_points, count)) for count in counts}
    names = video_names(config.youtube_videos, points)
    dataset = YouTubeDataset(config.youtube_root, videos=names)
    if not dataset.names:
        raise UserError(f"{dataset.root / 'meta.json'} lists no videos, so there is nothing to evaluate.")
    run = YouTubeRun(dataset, tuple(dataset.names), variants, points, options)
    _check(run)
    return run


def video_names(listed: Path | None, points: dict[int, dict[str, VideoPoints]]) -> list[str] | None:
    """The videos to evaluate: those of the list, else those of the points files, else all (`None`)."""
    if listed is not None:
        names = list(dict.fromkeys(name for name in read_names(listed) if not name.startswith("#")))
        if not names:
            raise UserError(f"the list of videos {listed} is empty. It has one name a line.")
        return names
    if not points:
        return None
    first, *others = points.values()
    return sorted(name for name in first if all(name in other for other in others))


def evaluate(
    config: Config, *, segmenter: Segmenter | None = None, checkpoint: CheckpointInfo | None = None
) -> RunRecord | None:
    """Play everything that is not played yet, then write the report; returns the run's record.

    `segmenter` and `checkpoint` replace what the settings name (tests, experiments).  With several processes (`RANK`
    and `WORLD_SIZE`, as `torchrun` sets them) each plays its share, and the main one waits for the others and writes
    the report; the others return `None`.
    """
    shard = runs.Shard.from_environment()
    run = prepare(config)
    checkpoint = checkpoint or runs.describe_weights(config.checkpoint, segmenter and segmenter.network)
    segmenter = segmenter or load_segmenter(config, benchmark="youtube")
    folder = _open_folder(config, run, segmenter, checkpoint, shard)
    clock = runs.Clock(folder.path / "clock.json", shard)
    total = sum(shard.takes(number) for number in range(len(run.samples)))
    log = folder.path / "log.txt"
    with RunProgress(total, log=log, shard=shard, metric=run.options.ranking) as progress:
        progress.log(f"{runs.command_line()}  process {shard.rank} of {shard.count}")
        for number, (variant, name) in enumerate(run.samples):
            if shard.takes(number):
                play_video(config, run, segmenter, SampleStore(folder.path, variant), name, progress)
                clock.save()
    if not shard.is_main:
        return None
    _wait_for_others(folder.path, run)
    clock.save()
    for count in {v.points for v in run.variants}:
        made = {name: run.points_of(run.dataset.video(name), count) for name in run.names}
        write_points(points_file(folder.path / "points", count), made)
    record = _run_record(config, run, segmenter, checkpoint, folder.path, clock)
    write_report(folder.path, record)
    return record


def play_video(
    config: Config, run: YouTubeRun, segmenter: Segmenter, store: SampleStore, name: str, progress: RunProgress
) -> SampleRecord:
    """Play all rounds of one video with one setting, from where an earlier run stopped."""
    variant, rounds = store.variant, run.options.rounds
    record = store.load(name)
    if record is not None and record.finished:
        progress.sample_done(variant, record, earlier=True)
        if config.save_masks:
            store.warn_without_masks(record)
        return record
    video = run.dataset.video(name)
    points = run.points_of(video, variant.points)
    if record is not None and record.rounds:
        session = store.resume(segmenter, record, video.frames)
        masks = session.masks()
        simulator = VideoSimulator(video, points, run.options, record=record, masks=masks)
    else:
        session, masks = segmenter.open(video.frames, object_ids=video.object_ids), None
        simulator = VideoSimulator(video, points, run.options)
    while not simulator.done:
        progress.begin(variant, name, simulator.round, rounds)
        before, masks_before = simulator.record, masks
        outcome = run_round(
            segmenter, session, simulator.annotation, guidance=variant.guidance, progress=progress.frame
        )
        masks = outcome.masks
        result = simulator.submit(masks, candidates=outcome.candidates, scores=outcome.scores, seconds=outcome.seconds)
        if config.pictures and not result.empty:
            picture = write_round_picture(
                store.run_dir,
                variant,
                before,
                result,
                frames=video.frames,
                masks=masks,
                previous_masks=masks_before,
                ground_truth=simulator.ground_truth,
            )
            simulator.note_picture(picture)
        if config.save_masks:
            store.save_masks(simulator.record, masks, video.frame_names)
        store.save(simulator.record, session)
        progress.round_done(variant, simulator.record, result)
    progress.sample_done(variant, simulator.record)
    return simulator.record


# ---- around the loop ---------------------------------------------------------------------------------------------


def _check(run: YouTubeRun) -> None:
    """Refuse points that do not fit the data before hours of work, not after."""
    for name in run.names:
        video = run.dataset.video(name)
        if not video.object_ids:
            raise UserError(f"video {name} has no objects in meta.json. Leave it out with a list (--youtube-videos).")
        for count, points in run.points.items():
            if name not in points:
                raise UserError(f"video {name} has no points in point_info_{count:02d}.json. Leave it out of the list.")
            entry, frames = points[name], video.frames
            points_annotation(
                entry,
                frame=video.index_of(entry.frame_name),
                object_ids=video.object_ids,
                height=frames.height,
                width=frames.width,
                name=name,
            )


def _open_folder(
    config: Config, run: YouTubeRun, segmenter: Segmenter, checkpoint: CheckpointInfo, shard: runs.Shard
) -> runs.RunFolder:
    points = {count: digest(found, run.names) for count, found in run.points.items()}
    settings = {
        "checkpoint": checkpoint.sha256,
        "segmenter": segmenter.options.protocol(),
        "precision": arithmetic(config, segmenter),
        "score_foreground": config.score_foreground,
        "simulator": asdict(run.options),
        "data": str(Path(config.youtube_root).resolve()),
        "videos": {name: _extent(run.dataset.video(name)) for name in run.names},
        "points": {str(v.points): points.get(v.points, "made") for v in run.variants},
        "guidance": list(dict.fromkeys(v.guidance for v in run.variants)),
    }
    label = "-".join([Path(checkpoint.name).stem, *settings["guidance"]])
    arguments = {"settings": settings, "name": config.run_name, "label": label}
    arguments["machinery"] = machinery(config, segmenter)
    if shard.count > 1 and not config.resume:
        raise UserError("--resume false is for one process only: delete the run's folder, or give another --run-name.")
    return runs.RunFolder.open(config.results_dir, "youtube", **arguments, resume=config.resume)


def _extent(video: YouTubeVideo) -> list[Any]:
    """What a record of a video must agree with: frames, height, width, object ids."""
    return [len(video.frames), video.frames.height, video.frames.width, list(video.object_ids)]


def _wait_for_others(run_dir: Path, run: YouTubeRun) -> None:
    """Wait until every sample is finished, whoever plays it; each record is read until it is."""
    waiting = list(run.samples)

    def all_finished() -> bool:
        while waiting:
            variant, name = waiting[-1]
            record = SampleStore(run_dir, variant).load(name)
            if record is None or not record.finished:
                return False
            waiting.pop()
        return True

    runs.wait_until(all_finished, what="they play their share of the videos")


def _run_record(
    config: Config, run: YouTubeRun, segmenter: Segmenter, checkpoint: CheckpointInfo, run_dir: Path, clock: runs.Clock
) -> RunRecord:
    root = config.youtube_root.resolve()
    sample = (SAMPLE / "YouTube").resolve()
    where = "the bundled sample in YouTube-VOS layout" if root == sample else f"data set {root.name}"
    if not run.points:
        source = "points made from the ground truth"
    else:
        source = "published points" if _has_published_points(run) else "points from files"
    notes = []
    if run.options.absent == "skip":
        notes.append("Frames where an object is absent do not count for it (--youtube-absent skip).")
    if run.options.repeat_frames:
        notes.append("Frames may be annotated again (--youtube-repeat-frames).")
    variants = tuple(
        VariantRecord(v, tuple(s for s in load_samples(run_dir, v, finished_only=True) if s.sequence in set(run.names)))
        for v in run.variants
    )
    return RunRecord(
        "youtube",
        run_dir.name,
        variants,
        run.options.rounds,
        runs.command_line(),
        f"{where} ({counted(len(run.names), 'video')}, {source})",
        checkpoint,
        options={**as_dict(config), "segmenter": asdict(segmenter.options), "simulator": asdict(run.options)},
        versions=runs.versions(),
        git_commit=runs.git_commit(Path(__file__).resolve().parents[1]),
        device=str(segmenter.device),
        started=clock.started,
        seconds=clock.seconds,
        notes=tuple(notes),
        differs=_differences(run),
    )


def _has_published_points(run: YouTubeRun) -> bool:
    """Whether all first-round points are those of the published run, of all its videos."""
    return bool(run.points) and all(
        digest(found, sorted(run.names)) == published.POINTS.get(count) for count, found in run.points.items()
    )


def _differences(run: YouTubeRun) -> tuple[str, ...]:
    """What the simulated user did other than the published one."""
    return published.youtube_differences(
        other_points=not _has_published_points(run),
        absent_left_out=run.options.absent != "score",
        frames_again=run.options.repeat_frames,
    )
