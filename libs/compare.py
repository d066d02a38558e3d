"""Put runs beside each other, or beside the published tables: per round, per sequence, with confidence intervals.

    python -m libs.compare results/davis/RUN                    guidance against no guidance, and against the published
    python -m libs.compare results/davis/RUN results/davis/OTHER           the settings that both have
    python -m libs.compare results/davis/RUN/J-RS4 published:davis_J_RS4   any two tables
    python -m libs.compare published:davis_J_RS4 published:davis_J_woRS

A table is a setting's folder, a CSV file in the published format, or `published:NAME`.  Such a file has one line per
object: sequence,obj_idx,scr_idx,round-1,..,round-8 for DAVIS, without scr_idx for YouTube-iVOS.  Objects that only one
side has are left out and counted.  Differences are paired: the same object on both sides; their 95 % intervals come
from a bootstrap over objects (all scribble sets of an object are drawn together).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dataset_torch.errors import UserError
from libs import published
from libs.metrics import area_over_rounds
from libs.reports.records import METRIC_NAMES, METRICS, counted
from libs.reports.summary import ObjectRow, has_scribble_sets, read_object_csv
from libs.scripts import exit_status

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Table:
    """One side of a comparison."""

    name: str
    metric: str | None  # J, F or J_AND_F; None = the file does not say
    rows: tuple[ObjectRow, ...]
    differs: tuple[str, ...] = ()  # what the run's user did other than the published one
    remark: str = ""  # what a reader must know of the table

    @property
    def is_published(self) -> bool:
        """Whether this is one of the published tables."""
        return self.name.startswith("published:")


@dataclass(frozen=True)
class Interval:
    """A mean difference per round with its confidence interval, each float64 R."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two tables on the objects that both have; N lines (objects, or objects and scribble sets), R rounds."""

    first: Table
    second: Table
    keys: tuple[tuple[str, int, int], ...]  # N: sequence, object id, scribble set
    a: np.ndarray  # float64 N x R
    b: np.ndarray  # float64 N x R
    only_first: int  # lines that the second table lacks
    only_second: int
    resample: str = "objects"  # what the bootstrap draws: objects or sequences

    @property
    def name(self) -> str:
        """Name for files."""
        return "--vs--".join(
            t.name.replace("published:", "published-").replace("/", "-") for t in (self.first, self.second)
        )

    @property
    def metric(self) -> str:
        """The metric of both sides, for people."""
        known = self.first.metric or self.second.metric
        return METRIC_NAMES[known] if known else "metric"

    @property
    def extent(self) -> str:
        """How much is compared, such as `183 lines of 61 objects`."""
        return f"{counted(len(self.keys), 'line')} of {counted(len(set(self.groups)), self.resample.removesuffix('s'))}"

    @property
    def notes(self) -> list[str]:
        """What a reader must know besides the figures."""
        out = list(dict.fromkeys(t.remark for t in (self.first, self.second) if t.remark))
        for ours, theirs in ((self.first, self.second), (self.second, self.first)):
            if theirs.is_published and ours.differs:
                out.append(f"{ours.name} was not played as the published run was: {'; '.join(ours.differs)}.")
        return out

    @property
    def groups(self) -> list[tuple]:
        """N: what each line is drawn together with."""
        return [key[:1] if self.resample == "sequences" else key[:2] for key in self.keys]

    @cached_property
    def difference(self) -> Interval:
        """First minus second, per round."""
        return bootstrap(self.a - self.b, self.groups)

    @cached_property
    def r_auc_difference(self) -> Interval:
        """First minus second, area over rounds (R = 1)."""
        areas = [[area_over_rounds(x) - area_over_rounds(y)] for x, y in zip(self.a, self.b, strict=True)]
        return bootstrap(np.array(areas), self.groups)

    def sequences(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Per sequence the means of both sides (float64 R each), sorted by the difference of the last round."""
        names = np.array([key[0] for key in self.keys])
        found = [
            (n, self.a[names == n].mean(axis=0), self.b[names == n].mean(axis=0)) for n in sorted(set(names.tolist()))
        ]
        return sorted(found, key=lambda item: item[1][-1] - item[2][-1])


def bootstrap(
    differences: np.ndarray,
    groups: Sequence[object],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean of paired differences (float64 N x R).

    Draws groups with replacement, so lines of one group (the scribble sets of an object) stay together; a mean is over
    the lines drawn.  Deterministic for a seed.
    """
    _, rows = np.unique([str(g) for g in groups], return_inverse=True)
    count = rows.max() + 1
    sums = np.zeros((count, differences.shape[1]))
    np.add.at(sums, rows, differences)  # groups x R
    sizes = np.bincount(rows)
    chance = np.random.default_rng(seed)
    weights = chance.multinomial(count, np.full(count, 1 / count), size=resamples)  # resamples x groups
    means = (weights @ sums) / (weights @ sizes)[:, None]  # resamples x R
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return Interval(differences.mean(axis=0), low, high)


def compare(first: Table, second: Table, *, resample: str = "objects") -> Comparison:
    """Pair two tables.  Raises `UserError` when they share no object, or are known to hold different metrics."""
    if first.metric and second.metric and first.metric != second.metric:
        raise UserError(
            f"{first.name} holds {METRIC_NAMES[first.metric]}, {second.name} holds {METRIC_NAMES[second.metric]}: they "
            "cannot be compared. Give --metric, or name the CSV files."
        )
    ours, theirs = ({row.key: row.values for row in t.rows} for t in (first, second))
    keys = tuple(sorted(ours.keys() & theirs.keys()))
    if not keys:
        raise UserError(f"{first.name} and {second.name} have no object in common; they are of different data sets.")
    rounds = min(len(ours[keys[0]]), len(theirs[keys[0]]))
    a, b = (np.array([side[k][:rounds] for k in keys]) for side in (ours, theirs))
    return Comparison(first, second, keys, a, b, len(ours) - len(keys), len(theirs) - len(keys), resample)


# ---- finding tables ----------------------------------------------------------------------------------------------


def load_table(text: str, *, metric: str | None = None) -> Table:
    """A table by its name: `published:NAME`, a CSV file, or a setting's folder (then `metric` chooses; default J&F)."""
    if text.startswith("published:"):
        found = published.table(text.partition(":")[2])
        known, remark = found.rows_metric, ""
        if len(found.possible_metrics) > 1:
            known = metric if metric in found.possible_metrics else known
            remark = "The published table is called J&F; whether it holds J&F or J cannot be told (--metric J: as J)."
        _check_metric(text, known, metric)
        return Table(text, known, tuple(found.rows()), remark=remark)
    path = Path(text)
    if path.is_dir():
        chosen = metric or "J_AND_F"  # of the three tables in it
        rows = tuple(read_object_csv(path / f"objects_{chosen}.csv"))
        return Table(_short(path), chosen, rows, differences_from_published(path.parent))
    known = next((m for m in METRICS if path.stem == f"objects_{m}"), None)
    if path.name == "summary_in_csv.csv":  # the published form: J on DAVIS, which alone has scribble sets
        known = "J" if has_scribble_sets(path) else "J_AND_F"
    _check_metric(text, known, metric)
    return Table(_short(path), known, tuple(read_object_csv(path)), differences_from_published(path.parent.parent))


def _check_metric(name: str, known: str | None, wanted: str | None) -> None:
    if known and wanted and known != wanted:
        raise UserError(
            f"{name} holds {METRIC_NAMES[known]}, and --metric {wanted} was asked for. Leave --metric out, or name a "
            "table of that metric."
        )


def pairs_of_run(run: Path, *, metric: str | None = None) -> list[tuple[Table, Table]]:
    """What one run offers: each guided setting against `wo_RS`, each setting against its published counterpart."""
    labels = settings_of_run(run)
    out = []
    for label in labels:
        first, _, guidance = label.rpartition("-")
        if guidance != "wo_RS" and f"{first}-wo_RS" in labels:
            out.append(
                (load_table(str(run / label), metric=metric), load_table(str(run / f"{first}-wo_RS"), metric=metric))
            )
    for label in labels:
        table = published_counterpart(run, label)
        if table is None or (metric and metric not in table.possible_metrics) or differences_from_published(run):
            continue
        chosen = metric or table.rows_metric
        out.append((load_table(str(run / label), metric=chosen), load_table(f"published:{table.name}", metric=chosen)))
    return out


def published_counterpart(run: Path, label: str) -> published.PublishedTable | None:
    """The published table of a run's setting, if it has all the run's objects."""
    table = next((t for t in published.TABLES if t.variant.label == label and _same_benchmark(t, label)), None)
    if table is None:
        return None
    ours = read_object_csv(run / label / f"objects_{table.rows_metric}.csv")
    return table if {r.key for r in ours} <= {r.key for r in table.rows()} else None


def differences_from_published(run: Path) -> tuple[str, ...]:
    """What a run's simulated user did other than the published one, by its `summary.json`; nothing without one.

    A summary of earlier versions does not say; what its settings and files tell is taken instead.
    """
    try:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        if "differs_from_published" in summary:
            return tuple(summary["differs_from_published"])
        options = summary["options"]
        if summary["benchmark"] == "davis":
            robot = options.get("scribbles") == "robot" or any(run.glob("*/first_scribbles/*/001.json"))
            return (published.ROBOT_SCRIBBLES,) if robot else ()
        return published.youtube_differences(
            other_points=options.get("youtube_points") is None,
            absent_left_out=options.get("youtube_absent") == "skip",
            frames_again=bool(options.get("youtube_repeat_frames")),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none, or not one of ours
        return ()


def pairs_of_runs(first: Path, second: Path, *, metric: str | None = None) -> list[tuple[Table, Table]]:
    """The settings that both runs have."""
    shared = [label for label in settings_of_run(first) if label in settings_of_run(second)]
    return [(load_table(str(first / x), metric=metric), load_table(str(second / x), metric=metric)) for x in shared]


def settings_of_run(run: Path) -> list[str]:
    """Labels of the settings that a run's folder has tables of."""
    return sorted(p.parent.name for p in run.glob("*/objects_J.csv"))


def find_pairs(tables: Sequence[str], *, metric: str | None) -> list[tuple[Table, Table]]:
    """What to compare, from the command line's one or two names.  Raises `UserError` when that is nothing."""
    for text in tables:
        if not text.startswith("published:") and not Path(text).exists():
            raise UserError(
                f"{text} does not exist. Name a run's folder, a setting's folder, a CSV file or published:NAME."
            )
    runs = [Path(t) for t in tables if Path(t).is_dir() and settings_of_run(Path(t))]
    if len(tables) == len(runs):
        pairs = pairs_of_run(runs[0], metric=metric) if len(runs) == 1 else pairs_of_runs(*runs, metric=metric)
        if not pairs:
            if len(runs) == 1:
                raise UserError(_nothing_to_compare(runs[0], tables[0]))
            raise UserError(
                f"there is nothing to compare in {' and '.join(tables)}: two runs need a setting in common. They have "
                f"{' and '.join(', '.join(settings_of_run(r)) for r in runs)}."
            )
        return pairs
    if len(tables) == 1:
        raise UserError(
            f"{tables[0]} is no run's folder (it has no */objects_J.csv). Name a second table to compare it to."
        )
    # A published table decides the metric of a folder beside it.
    fixed = [load_table(t) for t in tables if t.startswith("published:")]
    chosen = metric or next((t.metric for t in fixed), None)
    first, second = (load_table(t, metric=chosen if Path(t).is_dir() else metric) for t in tables)
    return [(first, second)]


def _nothing_to_compare(run: Path, name: str) -> str:
    """Why one run gives no comparison, and what would."""
    labels = settings_of_run(run)
    reasons = differences_from_published(run) if any(published_counterpart(run, label) for label in labels) else ()
    beside = f" It is not put beside the published tables: {'; '.join(reasons)}." if reasons else ""
    if len(labels) == 1:
        return f"{name} holds only {labels[0]}. Run --guidance wo_RS,RS4, or name a second run.{beside}"
    return (
        f"there is nothing to compare in {name}: it holds {', '.join(labels)}; a run needs wo_RS and a guidance, or "
        f"the published objects. Name a second run.{beside}"
    )


def _same_benchmark(table: published.PublishedTable, label: str) -> bool:
    return (table.benchmark == "youtube") == label.startswith("points")


def _short(path: Path) -> str:
    """The last two parts of a path: run and setting."""
    parts = path.resolve().parts[-2:]
    return "/".join(parts)


# ---- telling -----------------------------------------------------------------------------------------------------


def format_comparison(comparison: Comparison) -> str:
    """The comparison as text."""
    c = comparison
    interval, area = c.difference, c.r_auc_difference
    lines = [
        f"{c.metric}, {c.extent}",
        f"  A = {c.first.name}",
        f"  B = {c.second.name}",
        "  round     " + "".join(f"{r:>9}" for r in range(1, c.a.shape[1] + 1)) + f"{'R-AUC':>10}",
    ]
    areas = [area_over_rounds(x.mean(axis=0)) for x in (c.a, c.b)]
    for name, values, r_auc in (("A", c.a.mean(axis=0), areas[0]), ("B", c.b.mean(axis=0), areas[1])):
        lines.append(f"  {name:<10}" + "".join(f"{v:9.4f}" for v in values) + f"{r_auc:10.4f}")
    for name, values, last in (
        ("A - B", interval.mean, area.mean[0]),
        ("95 % from", interval.low, area.low[0]),
        ("     to", interval.high, area.high[0]),
    ):
        lines.append(f"  {name:<10}" + "".join(f"{v:+9.4f}" for v in values) + f"{last:+10.4f}")
    if c.only_first or c.only_second:
        lines.append(f"  left out: {counted(c.only_first, 'line')} that only A has, {c.only_second} that only B has")
    lines += [f"  note: {note}" for note in c.notes]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m libs.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="one run, two runs, or two tables")
    parser.add_argument("--metric", choices=METRICS, help="what to compare [a published table's, else J&F]")
    parser.add_argument(
        "--resample", choices=("objects", "sequences"), default="objects", help="what the bootstrap draws"
    )
    parser.add_argument("--out", type=Path, help="folder for tables, plots and comparison.html [none are written]")
    arguments = parser.parse_args(argv)
    return exit_status(lambda: _compare_and_tell(arguments))


def _compare_and_tell(arguments: argparse.Namespace) -> None:
    if len(arguments.tables) > 2:
        raise UserError(f"one or two tables can be compared, not {len(arguments.tables)}.")
    pairs = find_pairs(arguments.tables, metric=arguments.metric)
    found = [compare(*pair, resample=arguments.resample) for pair in pairs]
    print("\n\n".join(format_comparison(c) for c in found))
    run = Path(arguments.tables[0])
    if len(arguments.tables) == 1 and (reasons := differences_from_published(run)):
        if any(published_counterpart(run, label) for label in settings_of_run(run)):
            print(f"\nnote: not put beside the published tables: {'; '.join(reasons)}.")
    if arguments.out is not None:
        from libs.compare_page import write_comparison  # matplotlib takes a second to import

        print(f"\nreport: {write_comparison(arguments.out, found)}")


if __name__ == "__main__":
    sys.exit(main())
