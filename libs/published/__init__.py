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

    @property
    def possible_metrics(self) -> tuple[str, ...]:
        """What the table may hold: on YouTube-iVOS it is called JF, but whether it is J&F or J cannot be told."""
        return ("J_AND_F", "J") if self.benchmark == "youtube" else (self.rows_metric,)

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


ROBOT_SCRIBBLES = "the robot drew first-round scribbles, not a person"  # a difference of DAVIS runs, for `RunRecord`
# Point count -> `libs.youtube_points.digest` of the published first-round points, all 200 videos.
POINTS = {
    5: "ca8a28e05634131110770330299425600ea8d0a36fdff528a6e1fd55fb6d4e13",
    10: "8a297fd4d0c0dfbe2b32e4b019872311a5b1ee8ab280ee389f302fd4b3913e22",
    20: "5476b2d95b236be2e73c3a34ac1cb216519f765610570e939e07df573acfacb7",
    50: "f6120d1549c67ad61ba87c2da1a2de4edc7da8811d754fb7a2f130771752940d",
}
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

    Also `None` if the simulated user did something else than the published one (`RunRecord.differs`).  A part of the
    data set, or another data set that happens to share names, is put beside nothing here; the comparing command
    (`python -m libs.compare`) does so when asked, on the shared objects.
    """
    found = counterpart(run.benchmark, variant.variant)
    if found is None or not variant.samples or run.differs:
        return None
    ours = {row.key for row in object_rows(variant.samples, "J", run.num_rounds)}
    return found if ours == {row.key for row in found.rows()} else None


@cache
def _read_rows(name: str) -> tuple[ObjectRow, ...]:
    return tuple(read_object_csv(FOLDER / f"{name}.csv"))


def youtube_differences(*, other_points: bool, absent_left_out: bool, frames_again: bool) -> tuple[str, ...]:
    """What the simulated user of a YouTube-iVOS run did other than the published one, in words, for `RunRecord`."""
    found = {
        "the first-round points are not the published ones": other_points,
        "frames where an object is absent do not count for it": absent_left_out,
        "frames may be annotated again": frames_again,
    }
    return tuple(text for text, differs in found.items() if differs)
