"""The tables of a run: the terminal's, and the files in the published formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_torch.atomic import write_atomic
from libs import published
from libs.metrics import area_over_rounds
from libs.reports.records import METRIC_NAMES, METRICS, RunRecord, VariantRecord, counted
from libs.reports.summary import (
    format_object_csv,
    mean_over_points,
    object_rows,
    round_means,
    run_summary,
    variant_means,
    variant_summary,
)

BENCHMARK_NAMES = {"davis": "DAVIS interactive", "youtube": "YouTube-iVOS"}


@dataclass(frozen=True)
class MetricLine:
    """One line of the round table."""

    name: str  # J, F, J&F, or the same of the published run
    values: tuple[float, ...]  # R
    r_auc: float
    auc: float | None = None  # over seconds; only for the metric that was optimised, on DAVIS
    at_threshold: float | None = None  # the metric after 60 s
    published: bool = False
    main: bool = False  # the run's headline metric


def metric_lines(run: RunRecord, variant: VariantRecord) -> list[MetricLine]:
    """The variant's lines, and those of its published counterpart where it was run on the published objects."""
    main, timed = variant.variant.metric, variant.timed
    lines = []
    for metric, values in variant_means(variant, run.num_rounds).items():
        mine = metric == main
        auc = timed.auc if timed is not None and mine else None
        at = timed.at_threshold if timed is not None and mine else None
        lines.append(
            MetricLine(METRIC_NAMES[metric], tuple(values), area_over_rounds(values), auc, at, main=mine),
        )
    table = published.comparable(run, variant)
    return lines if table is None else lines + _published_lines(table, run.num_rounds)


def _published_lines(table: published.PublishedTable, num_rounds: int) -> list[MetricLine]:
    """The published run's lines, cut to as many rounds, so that the R-AUC is over the same ones."""
    timed = table.timed()
    means = tuple(round_means(table.rows()))[:num_rounds]
    lines = []
    if timed is None or table.rows_metric != table.variant.metric:
        name = f"{METRIC_NAMES[table.rows_metric]} published"
        lines.append(MetricLine(name, means, area_over_rounds(means), published=True))
    if timed is not None:
        # The curve has a point (0, 0) before round 1 and repeats the last round at the time limit.
        curve = timed.values[1:-1][:num_rounds]
        name = f"{METRIC_NAMES[table.variant.metric]} published"
        lines.append(
            MetricLine(name, curve, area_over_rounds(curve), timed.auc, timed.at_threshold, published=True, main=True)
        )
    return lines


def format_table(run: RunRecord) -> str:
    """The run's figures as text, at most 120 columns wide for eight rounds."""
    out = [f"{BENCHMARK_NAMES[run.benchmark]}: {run.data}", f"checkpoint {run.checkpoint.name}"]
    if run.checkpoint.description:
        out[-1] += f" ({run.checkpoint.description})"
    for variant in run.variants:
        if not variant.samples:
            continue
        out += ["", *_variant_table(run, variant)]
    averages = mean_over_points(run)
    if len({v.variant.points for v in run.variants}) > 1:
        for guidance, metrics in averages.items():
            out += ["", _header(f"mean over the point counts, {guidance}", run.num_rounds, timed=False)]
            out += [
                _line(MetricLine(METRIC_NAMES[m], tuple(v), area_over_rounds(v)), timed=False)
                for m, v in metrics.items()
            ]
    out += ["", *(f"note: {note}" for note in run.notes)]
    return "\n".join(out).rstrip()


def print_table(run: RunRecord, report: str | Path | None = None) -> None:
    """Print the table and where the report page is."""
    text = format_table(run)
    if report is not None:
        text += f"\n\nreport: {report}"
    print(text)


def write_tables(run_dir: str | Path, run: RunRecord) -> None:
    """Write `summary.json` of the run, and per variant the summary and the per-object tables.

    `summary_in_csv.csv` has the published form and content: J on DAVIS, J&F on YouTube-iVOS.  `objects_J.csv`,
    `objects_F.csv` and `objects_J_AND_F.csv` are the same for every metric.
    """
    run_dir = Path(run_dir)
    for variant in run.variants:
        if not variant.samples:
            continue
        folder = run_dir / variant.variant.label
        sets = run.benchmark == "davis"
        tables = {
            metric: format_object_csv(object_rows(variant.samples, metric, run.num_rounds), scribble_sets=sets)
            for metric in METRICS
        }
        for metric, text in tables.items():
            write_atomic(folder / f"objects_{metric}.csv", text)
        write_atomic(folder / "summary_in_csv.csv", tables["J" if sets else "J_AND_F"])
        write_atomic(folder / "summary.json", to_json(variant_summary(run, variant)))
    write_atomic(run_dir / "summary.json", to_json(run_summary(run)))


def to_json(data: object) -> str:
    """Readable JSON; a nan, which JSON has no word for, becomes null."""
    return json.dumps(_without_nan(data), indent=1) + "\n"


def _without_nan(data: object) -> object:
    if isinstance(data, dict):
        return {k: _without_nan(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [_without_nan(v) for v in data]
    return None if isinstance(data, float) and not np.isfinite(data) else data


def _variant_table(run: RunRecord, variant: VariantRecord) -> list[str]:
    timed = variant.timed is not None
    unit = "sample" if run.benchmark == "davis" else "video"
    title = f"{variant.variant.title} ({counted(len(variant.samples), unit)}, {counted(variant.num_objects, 'object')})"
    return [_header(title, run.num_rounds, timed), *(_line(x, timed) for x in metric_lines(run, variant))]


def _header(title: str, num_rounds: int, timed: bool) -> str:
    rounds = "".join(f"{r:>7}" for r in range(1, num_rounds + 1))
    tail = f"{'R-AUC':>9}" + (f"{'AUC':>8}{'@60s':>8}" if timed else "")
    return f"{title}\n{'  round':<15}{rounds}{tail}"


def _line(line: MetricLine, timed: bool) -> str:
    values = "".join(f"{v:7.4f}".replace("0.", " .", 1) for v in line.values)
    tail = f"{line.r_auc:9.4f}"
    if timed:
        tail += "".join(f"{'':8}" if v is None else f"{v:8.4f}" for v in (line.auc, line.at_threshold))
    return f"  {line.name:<13}{values}{tail}"
