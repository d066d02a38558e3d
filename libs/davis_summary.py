"""Figures of a finished evaluation out of the framework's report.

The report is the framework's table: one row per sequence, scribble set, round, object and frame, with `jaccard`,
`contour`, `j_and_f` (each in [0, 1]) and `timing` (seconds that the round's prediction took).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from libs.davis_progress import PlayedRound, Progress, Sample

COLUMNS = {"J": "jaccard", "F": "contour", "J_AND_F": "j_and_f"}  # our names -> columns of the report
ROUND_KEY = ["sequence", "scribble_idx", "object_id", "interaction"]


@dataclass(frozen=True)
class DavisSummary:
    """Figures of one evaluation.

    Attributes:
        metric: "J", "F" or "J_AND_F".
        framework: what davisinteractive reports, in the published format: `auc`, `metric_at_threshold`
            (`{"threshold": 60, metric: value}`) and `curve` (`{"time": [...], metric: [...]}`).
        rounds: mean of the metric over all samples' objects after each round.
        r_auc: area over rounds, see `libs.metrics.area_over_rounds`; no machine's speed changes it.
        horizon: seconds that the AUC is taken over and divided by.
        too_slow: the rounds took longer than `horizon`; the AUC then leaves out what came later.
        timed_out: "sequence/set" of the samples that the time limit cut short.
    """

    metric: str
    framework: dict
    rounds: tuple[float, ...]
    r_auc: float
    horizon: float
    too_slow: bool
    timed_out: tuple[str, ...]

    @property
    def auc(self) -> float:
        """Area under the curve of the metric over time, divided by the time."""
        return self.framework["auc"]


def clip_curve(summary: dict, metric: str) -> tuple[dict, float, bool]:
    """Take the AUC over the horizon alone where the rounds took longer than it.

    The framework appends the horizon as last point of the curve and integrates over all of it.  When the last round
    ended later (no time limit, a slow machine), time would run backwards there; the AUC is then the area from 0 to
    the horizon, and the curve ends with the last round.

    Returns:
        The summary, the horizon in seconds, and whether the rounds took longer.
    """
    *times, horizon = (float(t) for t in summary["curve"]["time"])
    *values, last = (float(v) for v in summary["curve"][metric])
    threshold = summary["metric_at_threshold"]["threshold"]
    too_slow = times[-1] > horizon
    if too_slow:
        inside = [(t, v) for t, v in zip(times, values, strict=True) if t < horizon]
        inside.append((horizon, float(np.interp(horizon, times, values))))
        t, v = np.array(inside).T
        auc, at_threshold = ((v[1:] + v[:-1]) / 2 * np.diff(t)).sum() / horizon, np.interp(threshold, times, values)
    else:
        times, values = [*times, horizon], [*values, last]
        auc, at_threshold = summary["auc"], summary["metric_at_threshold"][metric]
    clipped = {
        "auc": float(auc),
        "metric_at_threshold": {"threshold": threshold, metric: float(at_threshold)},
        "curve": {"time": times, metric: values},
    }
    return clipped, horizon, too_slow


def report_rows(
    name: str, scribble_set: int, number: int, record: PlayedRound, ids: Sequence[int] | None = None
) -> pd.DataFrame:
    """One round as rows of the framework's report: frames outside, objects inside.

    `name` and `ids` (of the O objects; 1 to O when left out) are what the rows call the sequence and its objects.
    """
    jaccard, contour = np.array(record.jaccard), np.array(record.contour)
    frames, objects = jaccard.shape
    return pd.DataFrame(
        {
            "session_id": "local",
            "sequence": name,
            "scribble_idx": scribble_set,
            "interaction": number,
            "object_id": np.tile(ids or np.arange(1, objects + 1), frames),
            "frame": np.repeat(np.arange(frames), objects),
            "jaccard": jaccard.ravel(),
            "contour": contour.ravel(),
            "j_and_f": (0.5 * jaccard + 0.5 * contour).ravel(),
            "timing": record.seconds,
        }
    )


def merged_report(
    progress: Progress, samples: Sequence[Sample], naming: Callable[[str], tuple[str, Sequence[int] | None]]
) -> pd.DataFrame:
    """The framework's report over everything that `progress` holds of `samples`, in their order.

    `naming(sequence)` gives the name and the object ids that the rows are to have; see `report_rows`.
    """
    # One empty round first, so that there are typed columns even when nothing was evaluated.
    tables = [report_rows("", 0, 0, PlayedRound(0.0, np.zeros((0, 1)), np.zeros((0, 1)), 0))]
    for sample in samples:
        record = progress.read(sample)
        name, ids = naming(sample.sequence)
        for number, done in enumerate(record.rounds if record else [], start=1):
            tables.append(report_rows(name, sample.scribble_set, number, done, ids))
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def object_table(
    report: pd.DataFrame, metric: str, max_rounds: int, objects: Sequence[tuple[str, int, int]] | None = None
) -> pd.DataFrame:
    """The published per-object table: columns `sequence, obj_idx, scr_idx, round-1 .. round-R`.

    Each figure is the mean of `metric` over the sequence's frames.  Rounds that were not evaluated (time limit) have
    the figure of the round before, 0 before the first.

    Args:
        report: the framework's report.
        metric: "J", "F" or "J_AND_F".
        max_rounds: R.
        objects: (sequence, scribble set, object id) of the rows; those that occur in the report when left out.  Rows
            are in order of sequence, scribble set, object.
    """
    means = report.groupby(ROUND_KEY)[COLUMNS[metric]].mean().unstack("interaction")
    if objects is not None:
        means = means.reindex(pd.MultiIndex.from_tuples(objects, names=ROUND_KEY[:3]))
    means = means.reindex(columns=range(1, max_rounds + 1)).astype(np.float64).ffill(axis=1).fillna(0.0)
    means.columns = [f"round-{number}" for number in means.columns]
    table = means.sort_index().reset_index().rename(columns={"object_id": "obj_idx", "scribble_idx": "scr_idx"})
    return table[["sequence", "obj_idx", "scr_idx", *means.columns]]
