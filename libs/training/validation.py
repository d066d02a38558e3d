"""Validation during training: the real segmenter and a robot that strokes the truly worst frame, as DAVIS has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset_torch.clip import Clip
from dataset_torch.errors import UserError
from dataset_torch.frames import ArrayFrames
from libs.metrics import area_over_rounds, j_and_f, rank_correlation
from libs.segmenter import Segmenter
from libs.session import Session
from libs.simulated_user import ROBOT_STYLE, annotate
from libs.training.engine import Validation
from libs.training.samples import clearest_frame
from networks.interface import GuidedNetwork


def validate_clips(network: GuidedNetwork, clips: Sequence[Clip], *, rounds: int = 3) -> Validation:
    """Round 1 on the frame that shows the objects best, then on the worst by J&F.

    Figures: `val_round1`.. (J) and `val_jf1`.. (J&F) after each round, mean over frames, then over the objects of all
    clips; `val_rank`, how R-score and J of a clip's frames go together after round 1 (Spearman).  The score is the area
    under J&F over rounds.

    Raises:
        UserError: no clip shows an object that can be stroked.
    """
    region, both = [[] for _ in range(rounds)], [[] for _ in range(rounds)]  # per round, of every object
    correlations = []
    segmenter = Segmenter(network)
    for number, clip in enumerate(clips):
        generator = np.random.default_rng(number)
        frame, ids = clearest_frame(clip)
        if not ids:
            continue
        truth = np.where(np.isin(clip.masks, ids), clip.masks, 0)
        session = segmenter.open(ArrayFrames(clip.frames), object_ids=ids)
        for index in range(rounds):
            j, jf = play_round(segmenter, session, truth, ids, frame, generator, first=index == 0)
            region[index] += j.mean(0).tolist()
            both[index] += jf.mean(0).tolist()
            if index == 0:
                correlations.append(rank_correlation(np.asarray(session.scores), j.mean(1)))
            frame = int(jf.mean(1).argmin())
    if not correlations:
        raise UserError(
            f"none of the {len(clips)} clips for validation shows an object that is large enough to be stroked. Give "
            "another set to --validation."
        )
    figures = {f"val_round{i + 1}": float(np.mean(v)) for i, v in enumerate(region)}
    figures |= {f"val_jf{i + 1}": float(np.mean(v)) for i, v in enumerate(both)}
    figures["val_rank"] = float(np.nanmean(correlations)) if np.isfinite(correlations).any() else float("nan")
    return Validation(area_over_rounds([float(np.mean(v)) for v in both]), figures)


def play_round(
    segmenter: Segmenter,
    session: Session,
    truth: np.ndarray,
    object_ids: Sequence[int],
    frame: int,
    generator: np.random.Generator,
    *,
    first: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """One round of the robot on `frame`; J and J&F afterwards, each float64 F x O."""
    prediction = None if first else session.mask(frame)
    given = annotate(frame, truth[frame], prediction, object_ids, generator, ROBOT_STYLE)
    if not given.is_empty:
        segmenter.annotate(session, given)
        for _ in segmenter.propagate(session):
            pass
    region, _, both = j_and_f(truth, session.masks(), object_ids)
    return region, both
