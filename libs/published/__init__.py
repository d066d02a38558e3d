"""The published figures as data (sources: README.md in this folder), to be put beside our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dataset_torch.errors import UserError
from libs.reports.records import Benchmark, RunRecord, TimedSummary, Variant, VariantRecord
from libs.reports.summary import ObjectRow, object_rows, read_object_csv

FOLDER = Path(__file__).resolve().parent
SOURCE = "the authors' published results (CVPR 2021)"


@dataclass(frozen=True)
class PublishedTable:
    """One published run."""

    name: str  # of its files, such as davis_J_RS4
    benchmark: Benchmark
    variant: Variant
    rows_metric: str  # what the per-object table holds; on DAVIS always J

    def rows(self) -> list[ObjectRow]:
        """The per-object table."""
        return list(_read_rows(self.name))

    def timed(self) -> TimedSummary | None:
        """The framework's summary, of the metric that was optimised; DAVIS only."""
        path = FOLDER / f"{self.name}.json"
        if not path.is_file():
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
        at, curve, metric = data["metric_at_threshold"], data["curve"], self.variant.metric
        return TimedSummary(data["auc"], at["threshold"], at[metric], tuple(curve["time"]), tuple(curve[metric]))


_DAVIS = [("J", "RS4"), ("J", "wo_RS"), ("J_AND_F", "RS4"), ("J_AND_F", "wo_RS")]
TABLES: tuple[PublishedTable, ...] = (
    *(
        PublishedTable(
            f"davis_{'JF' if metric == 'J_AND_F' else metric}_{guidance.replace('_', '')}",
            "davis",
            Variant(guidance, metric),
            "J",
        )
        for metric, guidance in _DAVIS
    ),
    *(
        PublishedTable(f"youtube_woRS_points{points:02d}", "youtube", Variant("wo_RS", "J_AND_F", points), "J_AND_F")
        for points in (5, 10, 20, 50)
    ),
)


def table(name: str) -> PublishedTable:
    """The table of that name.  Raises `UserError` if there is none."""
    for candidate in TABLES:
        if candidate.name == name:
            return candidate
    raise UserError(f"there is no published table {name!r}. Choose from {', '.join(t.name for t in TABLES)}.")


def counterpart(benchmark: Benchmark, variant: Variant) -> PublishedTable | None:
    """The published run of the same benchmark and setting, if there is one."""
    return next((t for t in TABLES if t.benchmark == benchmark and t.variant == variant), None)


def comparable(run: RunRecord, variant: VariantRecord) -> PublishedTable | None:
    """The published counterpart, if this variant covers exactly the published objects; else `None`.

    A part of the data set, or another data set that happens to share names, is put beside nothing here; the comparing
    command (`python -m libs.compare`) does so when asked, on the shared objects.
    """
    found = counterpart(run.benchmark, variant.variant)
    if found is None or not variant.samples:
        return None
    ours = {row.key for row in object_rows(variant.samples, "J", run.num_rounds)}
    return found if ours == {row.key for row in found.rows()} else None


@cache
def _read_rows(name: str) -> tuple[ObjectRow, ...]:
    return tuple(read_object_csv(FOLDER / f"{name}.csv"))
