"""Validation during training: the real segmenter, a robot that strokes the truly worst frame, a few held-out clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.frames import ArrayFrames
from libs.segmenter import Segmenter
from libs.session import Session
from libs.simulated_user import ROBOT_STYLE, annotate
from libs.training.engine import Validation
from networks.interface import GuidedNetwork


def mean_jaccard(masks: np.ndarray, truth: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """J per frame, mean over objects; both F x H x W of ids.  Two empty masks agree."""
    values = []
    for object_id in object_ids:
        a, b = masks == object_id, truth == object_id
        union = (a | b).sum((1, 2))
        values.append(np.where(union > 0, (a & b).sum((1, 2)) / np.maximum(union, 1), 1.0))
    return np.mean(values, axis=0)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation, ties broken by position; `nan` if either is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def validate_clips(network: GuidedNetwork, clips: Sequence[Clip], *, rounds: int = 3) -> Validation:
    """Round 1 on the middle frame, then on the worst; the score is the mean J over rounds, frames and clips."""
    per_round: list[list[float]] = [[] for _ in range(rounds)]
    correlations = []
    segmenter = Segmenter(network)
    for number, clip in enumerate(clips):
        generator = np.random.default_rng(number)
        middle = len(clip) // 2
        ids = [i for i in clip.object_ids if (clip.masks[middle] == i).sum() > 50]
        if not ids:
            continue
        truth = np.where(np.isin(clip.masks, ids), clip.masks, 0)
        session = segmenter.open(ArrayFrames(clip.frames), object_ids=ids)
        frame, quality = middle, None
        for index in range(rounds):
            quality = play_round(segmenter, session, truth, ids, frame, generator, first=index == 0)
            per_round[index].append(float(quality.mean()))
            if index == 0:
                correlations.append(rank_correlation(np.asarray(session.scores), quality))
            frame = int(quality.argmin())
    figures = {f"val_round{i + 1}": float(np.mean(v)) for i, v in enumerate(per_round)}
    figures["val_rank"] = float(np.nanmean(correlations)) if np.isfinite(correlations).any() else float("nan")
    return Validation(float(np.mean([np.mean(v) for v in per_round])), figures)


def play_round(
    segmenter: Segmenter,
    session: Session,
    truth: np.ndarray,
    object_ids: Sequence[int],
    frame: int,
    generator: np.random.Generator,
    *,
    first: bool,
) -> np.ndarray:
    """One round of the robot on `frame`; J per frame afterwards."""
    prediction = None if first else session.mask(frame)
    given = annotate(frame, truth[frame], prediction, object_ids, generator, ROBOT_STYLE)
    if not given.is_empty:
        segmenter.annotate(session, given)
        for _ in segmenter.propagate(session):
            pass
    return mean_jaccard(session.masks(), truth, object_ids)
