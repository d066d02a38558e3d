"""The light DAVIS loop: the robot strokes, the segmenter propagates, J and F are measured, the next frame is chosen.

Round 1: strokes of the framework's robot on the middle frame, from an empty prediction.  Later rounds: strokes on the
errors of the frame that the policy chose.  No clock, no report of the framework: what a round gives depends on nothing
but the weights and the seeds.  Runs that differ from round 2 on only share the first round and all frame features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from libs.evaluation import RoundOutcome, run_round
from libs.interactions import FrameAnnotation, Scribble
from libs.metrics import j_and_f
from libs.scribble_robot import correct_frame, scribble_robot
from libs.segmenter import Segmenter
from libs.session import Session, SessionState
from libs.studies.data import StudyVideo
from libs.studies.policies import Policy


@dataclass(frozen=True)
class RoundResult:
    """One round; the arrays have one value per frame, means over objects."""

    frame: int  # where the strokes were
    empty: bool  # the robot found nothing to correct
    j: np.ndarray  # float64 F
    f: np.ndarray  # float64 F
    scores: np.ndarray  # float64 F, R-scores; nan = not scored
    seconds: float  # of the model

    @property
    def quality(self) -> np.ndarray:
        """J&F of every frame, float64 F."""
        return (self.j + self.f) / 2


class Measure:
    """J and F of a video's masks; frames whose mask did not change are not measured again."""

    def __init__(self, video: StudyVideo):
        self.video = video
        shape = (len(video.truth), len(video.object_ids))
        self._masks: np.ndarray | None = None
        self._j, self._f = np.zeros(shape), np.zeros(shape)

    def __call__(self, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`masks` uint8 F x H x W -> J and F per frame, each float64 F, means over objects."""
        changed = np.ones(len(masks), bool)
        if self._masks is not None:
            changed = (masks != self._masks).any(axis=(1, 2))
        if changed.any():
            truth = self.video.truth[changed]
            self._j[changed], self._f[changed], _ = j_and_f(truth, masks[changed], self.video.object_ids)
        self._masks = masks
        return self._j.mean(axis=1), self._f.mean(axis=1)


@dataclass(frozen=True)
class Start:
    """A session after round 1, from which any number of runs go on."""

    video: StudyVideo
    session: Session
    state: SessionState
    masks: np.ndarray
    first: RoundResult


def first_round(
    segmenter: Segmenter, video: StudyVideo, *, session: Session | None = None, true_masks: bool = False
) -> Start:
    """Play round 1 on a new session, or on one whose frame features are to be used again; with `true_masks` the frame
    is given its true mask instead of strokes."""
    if session is None:
        session = segmenter.open(video.frames, object_ids=video.object_ids)
    session.restore(SessionState(object_ids=video.object_ids))
    middle = len(video.truth) // 2
    outcome, empty = _play(segmenter, session, video, middle, np.zeros_like(video.truth[0]), true_masks)
    result = _result(middle, empty, outcome, Measure(video))
    return Start(video, session, session.snapshot(), outcome.masks, result)


def play(
    segmenter: Segmenter, start: Start, policy: Policy, *, rounds: int, true_masks: bool = False
) -> list[RoundResult]:
    """Rounds 1 to `rounds`; the first is the start's, and `true_masks` (as in `first_round`) is for the others."""
    video, session = start.video, start.session
    session.restore(start.state)
    chooser, measure = policy.chooser(video.key), Measure(video)
    results, masks = [start.first], start.masks
    measure(masks)
    for _ in range(1, rounds):
        annotated = {r.frame for r in results}
        frame = chooser.choose(results[-1].quality, results[-1].scores, annotated, segmenter.options.guidance)
        outcome, empty = _play(segmenter, session, video, frame, masks[frame], true_masks)
        masks = outcome.masks
        results.append(_result(frame, empty, outcome, measure))
    return results


def _play(
    segmenter: Segmenter, session: Session, video: StudyVideo, frame: int, prediction: np.ndarray, true_mask: bool
) -> tuple[RoundOutcome, bool]:
    annotation = FrameAnnotation(frame, mask=video.truth[frame]) if true_mask else _strokes(video, frame, prediction)
    outcome = run_round(segmenter, session, annotation)
    return outcome, annotation.is_empty


def _strokes(video: StudyVideo, frame: int, prediction: np.ndarray) -> FrameAnnotation:
    """The robot's, on the errors of `prediction`, uint8 H x W of ids."""
    robot = scribble_robot(min_nb_nodes=2)
    strokes = correct_frame(robot, video.truth[frame], prediction, len(video.object_ids))
    scribbles = tuple(Scribble(s["object_id"], np.asarray(s["path"], np.float64)) for s in strokes if s["path"])
    return FrameAnnotation(frame, scribbles)


def _result(frame: int, empty: bool, outcome: RoundOutcome, measure: Measure) -> RoundResult:
    j, f = measure(outcome.masks)
    return RoundResult(frame, empty, j, f, outcome.scores, outcome.seconds)
