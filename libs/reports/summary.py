"""From records to figures: per-object tables in the published format, means per round, areas under curves.

The published tables (spec: evaluation.md) are means over objects (DAVIS: over objects and scribble sets) of means over
frames; feeding the published per-object tables through these functions gives the published summaries.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_torch.errors import UserError
from libs.metrics import area_over_rounds
from libs.reports.records import METRICS, RunRecord, SampleRecord, VariantRecord


@dataclass(frozen=True)
class ObjectRow:
    """One line of a per-object table."""

    sequence: str
    object_id: int
    scribble_set: int  # YouTube-iVOS: 1
    values: tuple[float, ...]  # R, the metric per round, in [0, 1]

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes the line the same line in another table."""
        return self.sequence, self.object_id, self.scribble_set


def object_rows(samples: Sequence[SampleRecord], metric: str, num_rounds: int) -> list[ObjectRow]:
    """The per-object table, sorted by sequence, scribble set and object as the published ones are."""
    rows = []
    for sample in sorted(samples, key=lambda s: (s.sequence, s.scribble_set)):
        values = sample.object_means(metric, num_rounds)
        rows += [
            ObjectRow(sample.sequence, object_id, sample.scribble_set, tuple(float(v) for v in line))
            for object_id, line in zip(sample.object_ids, values, strict=True)
        ]
    return rows


def format_object_csv(rows: Sequence[ObjectRow], *, scribble_sets: bool) -> str:
    """The table as CSV text: `sequence,obj_idx[,scr_idx],round-1,..`; `scribble_sets` is the DAVIS form."""
    num_rounds = len(rows[0].values) if rows else 0
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    middle = ["scr_idx"] if scribble_sets else []
    writer.writerow(["sequence", "obj_idx", *middle, *(f"round-{r}" for r in range(1, num_rounds + 1))])
    for row in rows:
        middle = [row.scribble_set] if scribble_sets else []
        writer.writerow([row.sequence, row.object_id, *middle, *(repr(float(v)) for v in row.values)])
    return buffer.getvalue()


def has_scribble_sets(path: str | Path) -> bool:
    """Whether a per-object table has a line per scribble set, as those of DAVIS do.  Raises `UserError`."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return "scr_idx" in next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def read_object_csv(path: str | Path) -> list[ObjectRow]:
    """Read a per-object table of either form, ours or published.

    Raises `UserError` for a missing file, other columns, or a line that is not numbers.
    """
    path = Path(path)
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    head = lines[0] if lines else []
    skip = 3 if head[2:3] == ["scr_idx"] else 2
    if head[:2] != ["sequence", "obj_idx"] or head[skip:] != [f"round-{r}" for r in range(1, len(head) - skip + 1)]:
        raise UserError(
            f"{path} is not a per-object table: its first line must be sequence,obj_idx[,scr_idx],round-1,round-2,.. "
            f"and is {','.join(head)[:80]!r}."
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            values = tuple(float(v) for v in line[skip:])
            rows.append(ObjectRow(line[0], int(line[1]), int(line[2]) if skip == 3 else 1, values))
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}, line {number}: not a name, integers and numbers ({error}).") from error
        if len(values) != len(head) - skip:
            raise UserError(f"{path}, line {number}: {len(values)} rounds, its first line names {len(head) - skip}.")
    return rows


def round_means(rows: Sequence[ObjectRow]) -> np.ndarray:
    """float64 R: the mean over all lines, as both benchmarks report it."""
    if not rows:
        raise ValueError("a mean over no objects does not exist")
    return np.array([row.values for row in rows], dtype=np.float64).mean(axis=0)


def variant_means(variant: VariantRecord, num_rounds: int) -> dict[str, np.ndarray]:
    """`J`, `F`, `J_AND_F` -> float64 R, the mean over objects (and scribble sets)."""
    return {m: round_means(object_rows(variant.samples, m, num_rounds)) for m in METRICS}


def variant_summary(run: RunRecord, variant: VariantRecord) -> dict[str, Any]:
    """One variant's figures as plain JSON values; the framework's own three keys come first, in its format."""
    out: dict[str, Any] = {}
    metric = variant.variant.metric
    if variant.timed is not None:
        timed = variant.timed
        out["auc"] = timed.auc
        out["metric_at_threshold"] = {"threshold": timed.threshold, metric: timed.at_threshold}
        out["curve"] = {"time": list(timed.seconds), metric: list(timed.values)}
    means = variant_means(variant, run.num_rounds)
    rounds = [r for s in variant.samples for r in s.rounds]
    out["metric"] = metric
    out["guidance"] = variant.variant.guidance
    if variant.variant.points is not None:
        out["points"] = variant.variant.points
    out["rounds"] = {name: values.tolist() for name, values in means.items()}
    out["r_auc"] = {name: area_over_rounds(values) for name, values in means.items()}
    out["samples"] = len(variant.samples)
    out["objects"] = variant.num_objects
    out["empty_rounds"] = sum(r.empty for r in rounds)
    out["late_rounds"] = sum(r.late for r in rounds)
    return out


def variant_timings(variant: VariantRecord) -> dict[str, float]:
    """Mean and total seconds of the model's part of a round; these differ from run to run."""
    seconds = [r.seconds for s in variant.samples for r in s.rounds if not r.empty and not r.late]
    frames = sum(s.num_frames for s in variant.samples for r in s.rounds if not r.empty and not r.late)
    total = float(np.sum(seconds))
    return {
        "rounds_total_s": total,
        "round_mean_s": total / max(1, len(seconds)),
        "per_frame_mean_s": total / max(1, frames),
    }


def run_summary(run: RunRecord) -> dict[str, Any]:
    """The whole run as plain JSON values: figures, options, checkpoint, versions, timings."""
    variants = {v.variant.label: variant_summary(run, v) for v in run.variants}
    return {
        "benchmark": run.benchmark,
        "name": run.name,
        "data": run.data,
        "command": run.command,
        "variants": variants,
        "mean_over_points": mean_over_points(run),
        "checkpoint": asdict(run.checkpoint),
        "options": run.options,
        "versions": run.versions,
        "git_commit": run.git_commit,
        "device": run.device,
        "started": run.started,
        "timings": {"run_s": run.seconds, **{v.variant.label: variant_timings(v) for v in run.variants}},
        "notes": list(run.notes),
        "differs_from_published": list(run.differs),
    }


def mean_over_points(run: RunRecord) -> dict[str, dict[str, list[float]]]:
    """YouTube-iVOS: guidance -> metric -> R, the mean over the point counts of the run; empty for DAVIS.

    The published script adds the settings up where its published file holds their mean (spec section 6); this is the
    mean.
    """
    out: dict[str, dict[str, list[float]]] = {}
    guided = dict.fromkeys(v.variant.guidance for v in run.variants if v.variant.points is not None)
    for guidance in guided:
        same = [variant_means(v, run.num_rounds) for v in run.variants if v.variant.guidance == guidance]
        out[guidance] = {m: np.mean([means[m] for means in same], axis=0).tolist() for m in METRICS}
    return out
