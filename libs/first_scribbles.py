"""First-round scribbles for data sets that come without any, drawn by the framework's robot."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from dataset_torch.atomic import write_atomic
from dataset_torch.davis import DavisDataset, DavisSequence
from dataset_torch.errors import UserError
from libs.davis_framework import MIN_NODES
from libs.davis_registry import to_consecutive
from libs.reports.records import counted
from libs.scribble_robot import correct_frame, scribble_robot

logger = logging.getLogger(__name__)


def complete_scribbles(dataset: DavisDataset, folder: Path, *, make: bool) -> DavisDataset:
    """The data set with first-round scribbles for every sequence, drawn into `folder` where `make` allows it.

    Warns where object ids have gaps.  Raises `UserError` when scribbles are missing and may not be made.
    """
    for sequence in dataset.sequences:
        if sequence.object_ids != tuple(range(1, len(sequence.object_ids) + 1)):
            logger.warning(
                "Sequence %s has the object ids %s: the framework works on 1 to %d, scribbles, masks and tables keep "
                "the ids of the data set.",
                sequence.name,
                ", ".join(map(str, sequence.object_ids)),
                len(sequence.object_ids),
            )
    missing = [sequence.name for sequence in dataset.sequences if not sequence.scribble_files]
    if missing and not make:
        raise UserError(
            f"no first-round scribbles for {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} "
            f"({counted(len(missing), 'sequence')}): {dataset.root / 'Scribbles' / missing[0]}/001.json is missing. "
            "Get DAVIS-2017-scribbles-trainval.zip, or let the robot draw them (--scribbles auto or robot)."
        )
    return DavisDataset(
        dataset.root,
        tuple(s if s.scribble_files else add_first_scribbles(s, folder) for s in dataset.sequences),
    )


def add_first_scribbles(sequence: DavisSequence, folder: Path) -> DavisSequence:
    """The sequence with one scribble set, drawn by the robot into `folder/<sequence>/001.json` unless it is there.

    The robot corrects an empty prediction on the middle frame; where some object is not visible there, on the nearest
    frame that shows the most objects.  The same masks always give the same file.  The data set is not written to.

    Raises:
        UserError: The objects are too small to draw a stroke in, or `folder` cannot be written.
    """
    path = folder / sequence.name / "001.json"
    if not path.is_file():
        write_atomic(path, json.dumps(_draw(sequence)))
    return sequence.with_scribbles([path])


def first_frame(sequence: DavisSequence) -> int:
    """The frame to draw on: the most objects visible, then nearest to the middle, then the earlier."""
    middle = sequence.num_frames // 2
    best, most = middle, 0
    for frame in sorted(range(sequence.num_frames), key=lambda f: (abs(f - middle), f)):
        visible = len(np.intersect1d(sequence.mask(frame), sequence.object_ids))
        if visible > most:
            best, most = frame, visible
        if most == len(sequence.object_ids):
            break
    return best


def _draw(sequence: DavisSequence) -> dict:
    frame = first_frame(sequence)
    truth = to_consecutive(sequence.mask(frame), sequence.object_ids)
    strokes = correct_frame(
        scribble_robot(min_nb_nodes=MIN_NODES), truth, np.zeros_like(truth), len(sequence.object_ids)
    )
    if not strokes:
        raise UserError(
            f"sequence {sequence.name}: its objects are too small on frame {frame} to draw scribbles in. "
            "Draw first-round scribbles by hand (Scribbles/<sequence>/001.json)."
        )
    ids = (0, *sequence.object_ids)
    drawn = [{"path": s["path"], "object_id": ids[s["object_id"]], "start_time": 0, "end_time": 0} for s in strokes]
    scribbles = [drawn if index == frame else [] for index in range(sequence.num_frames)]
    return {"sequence": sequence.name, "scribbles": scribbles}
