"""The YouTube-iVOS simulator: a user who gives points first and then lets a robot scribble on the worst frame.

The paper's own simulator was never published; this one follows its description (spec: evaluation.md)::

    simulator = VideoSimulator(video, points)
    while not simulator.done:
        ...                                             # segment from simulator.annotation: uint8 F x H x W of ids
        simulator.submit(masks, candidates=None)
    simulator.record                                    # all rounds with their figures

What the description leaves open is an option (`YouTubeOptions`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs import metrics
from libs.interactions import FrameAnnotation, Scribble
from libs.reports.records import METRICS, RoundRecord, SampleRecord
from libs.scribble_robot import correct_frame, scribble_robot
from libs.youtube_points import VideoPoints, points_annotation

logger = logging.getLogger(__name__)

PUBLISHED_ROUNDS = 4


@dataclass(frozen=True)
class YouTubeOptions:
    """The protocol; the defaults are the published one where it is known, else the DAVIS framework's habit."""

    rounds: int = PUBLISHED_ROUNDS
    ranking: Literal["J", "F", "J_AND_F"] = "J_AND_F"  # the next frame is the worst by this, averaged over the objects
    repeat_frames: bool = False  # whether a frame that was annotated may be annotated again
    # A frame where an object is absent from the ground truth: `score` gives J = F = 1 where the mask has none of it
    # either and 0 where it has (as DAVIS does); `skip` leaves such frames out of this object's mean.
    absent: Literal["score", "skip"] = "score"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UserError(f"rounds must be at least 1, not {self.rounds}.")
        if self.ranking not in METRICS:
            raise UserError(f"unknown metric {self.ranking!r}. Choose from {', '.join(METRICS)}.")


class Video(Protocol):
    """One video with ground truth; `dataset_torch.youtube.YouTubeVideo` is one."""

    name: str
    frame_names: tuple[str, ...]

    @property
    def object_ids(self) -> tuple[int, ...]: ...

    @property
    def frames(self) -> FrameSource: ...

    def masks(self) -> np.ndarray: ...

    def index_of(self, frame_name: str) -> int: ...


class VideoSimulator:
    """The simulated user of one video.

    `record` holds the rounds so far.  With an unfinished record (and the masks that it ended with, uint8 F x H x W)
    it goes on after the last of them, as if it had not stopped.

    Raises `UserError`: a points frame that the video does not have, points that do not fit the video, no objects.
    """

    def __init__(
        self,
        video: Video,
        points: VideoPoints,
        options: YouTubeOptions = YouTubeOptions(),
        *,
        record: SampleRecord | None = None,
        masks: np.ndarray | None = None,
    ):
        if not video.object_ids:
            raise UserError(f"video {video.name} has no objects in meta.json; leave it out of the list of videos.")
        self.video, self.options = video, options
        ids = video.object_ids
        self.ground_truth = only_objects(video.masks(), ids)  # uint8 F x H x W
        shown = set(np.unique(self.ground_truth).tolist())
        if not shown & set(ids):
            raise UserError(
                f"video {video.name}: no mask shows any of its objects, so there is nothing to measure against. Leave "
                "it out of the list of videos."
            )
        if missing := [i for i in ids if i not in shown]:
            logger.warning(
                "video %s: no mask shows object %s; it counts as right where it is absent", video.name, missing
            )
        frames, height, width = self.ground_truth.shape
        self._robot = scribble_robot(min_nb_nodes=4)
        if record is not None and record.rounds:
            if masks is None:
                raise ValueError("an unfinished record needs the masks of its last round")
            self.record = record
            self.annotation = self._robot_annotation(masks)
            return
        self.record = SampleRecord(video.name, ids, frames, height, width, frame_names=video.frame_names)
        frame = video.index_of(points.frame_name)
        self.annotation = points_annotation(
            points, frame=frame, object_ids=ids, height=height, width=width, name=video.name
        )

    @property
    def round(self) -> int:
        """Number of the round to play now, from 1."""
        return len(self.record.rounds) + 1

    @property
    def done(self) -> bool:
        """Whether all rounds are played."""
        return len(self.record.rounds) >= self.options.rounds

    def submit(
        self,
        masks: np.ndarray,
        *,
        candidates: Sequence[int] | None = None,
        scores: np.ndarray | None = None,
        seconds: float = 0.0,
    ) -> RoundRecord:
        """Measure the masks of this round (uint8 F x H x W of ids) and let the robot annotate the next frame.

        `candidates` restricts its choice (see `worst_frame`); `scores`, float64 F, and `seconds` are only recorded.
        Raises `UserError` for masks of another size and for candidates outside of the video, with nothing changed.
        """
        if self.done:
            raise UserError(f"video {self.video.name}: all {self.options.rounds} rounds are played.")
        masks = np.asarray(masks)
        if masks.shape != self.ground_truth.shape or not np.issubdtype(masks.dtype, np.integer):
            raise UserError(
                f"video {self.video.name}: masks must be whole numbers of shape {self.ground_truth.shape} (frames, "
                f"height, width), got {masks.dtype} {masks.shape}."
            )
        wrong = [f for f in candidates or () if not 0 <= f < len(masks)]
        if wrong:
            raise UserError(
                f"video {self.video.name}: frame {wrong[0]} is proposed; it has frames 0..{len(masks) - 1}."
            )
        jaccard, f_measure = self._measure(masks)
        record = RoundRecord(
            self.round,
            self.annotation.frame,
            jaccard,
            f_measure,
            np.full(len(masks), np.nan) if scores is None else np.asarray(scores, dtype=np.float64),
            None if candidates is None else tuple(int(f) for f in candidates),
            seconds,
            empty=self.annotation.is_empty,
            annotation=self.annotation,
        )
        self.record = self.record.with_round(record)
        if self.done:
            self.record = replace(self.record, finished=True)
        else:
            self.annotation = self._robot_annotation(masks)
        return record

    def note_picture(self, path: str) -> None:
        """Keep the path of the latest round's picture in its record."""
        *earlier, last = self.record.rounds
        self.record = replace(self.record, rounds=(*earlier, replace(last, picture=path)))

    def _measure(self, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids = self.video.object_ids
        jaccard = metrics.jaccard(self.ground_truth, masks, ids)  # F x O
        f_measure = metrics.f_measure(self.ground_truth, masks, ids)  # F x O
        if self.options.absent == "skip":
            absent = np.array([[not (mask == i).any() for i in ids] for mask in self.ground_truth])
            jaccard, f_measure = np.where(absent, np.nan, jaccard), np.where(absent, np.nan, f_measure)
        return jaccard, f_measure

    def _robot_annotation(self, masks: np.ndarray) -> FrameAnnotation:
        last = self.record.rounds[-1]
        annotated = () if self.options.repeat_frames else {r.annotated_frame for r in self.record.rounds}
        frame = worst_frame(last.frame_means(self.options.ranking), candidates=last.candidates, annotated=annotated)
        ids = self.video.object_ids
        # The robot knows objects 1..O only, so ids are numbered through for it and back.
        strokes = correct_frame(self._robot, _rows(self.ground_truth[frame], ids), _rows(masks[frame], ids), len(ids))
        names = (0, *ids)
        return FrameAnnotation(
            frame,
            tuple(Scribble(names[s["object_id"]], np.asarray(s["path"])) for s in strokes if len(s["path"])),
        )


def worst_frame(
    quality: np.ndarray, *, candidates: Sequence[int] | None = None, annotated: Sequence[int] | set[int] = ()
) -> int:
    """The frame for the robot: lowest `quality` (float64 F; nan = cannot be judged), ties to the earlier frame.

    Only `candidates`, if given, and none of `annotated`.  If that leaves none, any frame that is not annotated; if
    there is none either, any frame.
    """
    values = np.where(np.isnan(quality), np.inf, quality)
    frames = range(len(values))
    allowed = set(frames if candidates is None else candidates) - set(annotated)
    allowed = allowed or set(frames) - set(annotated) or set(frames)
    return min(sorted(allowed), key=lambda f: values[f])


def only_objects(masks: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """The masks with every other id as background (a mask may hold ids that `meta.json` does not name)."""
    return np.where(np.isin(masks, object_ids), masks, 0).astype(np.uint8)


def _rows(mask: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """Object ids as 1..O in their order, everything else 0: int64 H x W."""
    table = np.zeros(256, np.int64)
    for row, object_id in enumerate(object_ids, 1):
        table[object_id] = row
    return table[mask]
