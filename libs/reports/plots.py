"""The run's figures: the metric over rounds and over seconds, and whether a low R-score means a bad frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dataset_torch.atomic import write_atomic
from libs import published
from libs.metrics import rank_correlation
from libs.reports import drawing
from libs.reports.drawing import as_hex
from libs.reports.pictures import figure_png, sample_plot
from libs.reports.records import METRIC_NAMES, RunRecord, VariantRecord
from libs.reports.summary import round_means, variant_means

COLOURS = ("#176ba0", "#d65d0e", "#2e8b57", "#8b3a8f", "#b8860b", "#c0392b", "#4f6d7a", "#20242c", "#e377c2", "#7fb800")
MUTED = as_hex(drawing.MUTED)
MAX_DOTS = 4000  # more would only blacken the scatter plot


@dataclass(frozen=True)
class Reliability:
    """How well R-scores tell bad frames from good ones, in one variant."""

    scores: np.ndarray  # float64 N, R-score of every frame after every round
    quality: np.ndarray  # float64 N, its J (mean of the objects)
    correlation: float  # mean over samples and rounds of Spearman's rank correlation inside a video; nan = undefined
    hit_rate: float  # share of rounds in which the lowest-scored frame lies in the worst fifth of the video's frames


def reliability(variant: VariantRecord) -> Reliability:
    """Pairs of R-score and J over all frames that have both, rank correlation and hit rate within videos."""
    scores, quality, correlations, hits = [], [], [], []
    for sample in variant.samples:
        for record in sample.rounds:
            j = record.frame_means("J")
            both = np.isfinite(j) & np.isfinite(record.scores)
            if record.empty or record.late or not both.any():
                continue
            scores.append(record.scores[both])
            quality.append(j[both])
            correlations.append(rank_correlation(record.scores[both], j[both]))
            if both.sum() >= 5:
                lowest = int(np.argmin(record.scores[both]))
                hits.append(float(np.mean(j[both] < j[both][lowest]) < 0.2))
    found = [c for c in correlations if np.isfinite(c)]
    return Reliability(
        np.concatenate(scores) if scores else np.zeros(0),
        np.concatenate(quality) if quality else np.zeros(0),
        float(np.mean(found)) if found else float("nan"),
        float(np.mean(hits)) if hits else float("nan"),
    )


def curve_figure(run: RunRecord) -> Figure:
    """The headline metric over rounds and, on DAVIS, over seconds; published runs as dashed lines."""
    variants = [v for v in run.variants if v.samples]
    timed = [v for v in variants if v.timed is not None]
    panels = 1 + bool(timed)
    figure = Figure(figsize=(6.2 * panels, 4.2), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    x = np.arange(1, run.num_rounds + 1)
    for variant, colour in zip(variants, _cycle(len(variants)), strict=True):
        metric = variant.variant.metric
        axes[0].plot(x, variant_means(variant, run.num_rounds)[metric], "o-", color=colour, label=_label(run, variant))
        table = published.comparable(run, variant)
        if table is not None:
            curve = table.timed()
            values = np.array(curve.values[1:-1]) if curve is not None else round_means(table.rows())
            values = values[: run.num_rounds]
            axes[0].plot(x[: len(values)], values, "--", color=colour, lw=1.2, label="the same, published")
        if variant.timed is not None:
            times, values = variant.timed.seconds[1:-1], variant.timed.values[1:-1]
            axes[1].plot(times, values, "o-", color=colour, label=_label(run, variant))
    names = {METRIC_NAMES[v.variant.metric] for v in variants}
    unit = " or ".join(sorted(names)) + ", mean over objects"
    axes[0].set(xlabel="round", ylabel=unit, xticks=x, xlim=(0.7, run.num_rounds + 0.3), title="over rounds")
    if timed:
        axes[1].set(xlabel="seconds of the model per video, accumulated", ylabel=unit, title="over time")
        axes[1].axvline(60, color=MUTED, lw=0.8, ls=":") if axes[1].get_xlim()[1] > 60 else None
        axes[1].set_xlim(left=0)
    for panel in axes:
        tidy(panel)
    axes[0].legend(fontsize=8, loc="lower right")
    return figure


def reliability_figure(run: RunRecord) -> Figure | None:
    """R-score against true J, a dot per frame and round, one panel a variant; `None` without scored frames."""
    found = [(v, reliability(v)) for v in run.variants if v.samples]
    found = [(v, r) for v, r in found if len(r.scores)]
    if not found:
        return None
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 3.5 * rows), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (variant, values) in zip(panels, found, strict=False):
        step = -(-len(values.scores) // MAX_DOTS)
        panel.plot(values.scores[::step], values.quality[::step], ".", ms=4, alpha=0.35, color=COLOURS[0], mew=0)
        _binned_line(panel, values)
        # From 0, unless that would leave the dots in a corner.
        low = max(0.0, np.floor(values.quality.min() * 5) / 5) if values.quality.min() > 0.4 else 0.0
        panel.set(xlabel="R-score", ylabel="true J", ylim=(low - 0.03, 1.03), title=variant.variant.title)
        note = f"rank correlation {values.correlation:.2f}" if np.isfinite(values.correlation) else ""
        panel.text(
            0.03, 0.04, note, transform=panel.transAxes, fontsize=8, bbox={"fc": "white", "ec": "none", "pad": 2}
        )
        tidy(panel)
    for panel in panels[len(found) :]:
        panel.set_visible(False)
    return figure


def write_plots(run_dir: str | Path, run: RunRecord) -> None:
    """Write `curve.png`, `reliability.png`, and `<variant>/plots/<sample>.png` with J per frame per round."""
    run_dir = Path(run_dir)
    write_atomic(run_dir / "curve.png", figure_png(curve_figure(run)))
    figure = reliability_figure(run)
    if figure is not None:
        write_atomic(run_dir / "reliability.png", figure_png(figure))
    for variant in run.variants:
        for sample in variant.samples:
            path = run_dir / variant.variant.label / "plots" / f"{sample.name}.png"
            write_atomic(path, figure_png(sample_plot(sample)))


def _binned_line(axes: Axes, values: Reliability) -> None:
    """Mean J of ten equally filled bins of R-score, where there are enough dots for a mean to say anything."""
    if len(values.scores) < 100:
        return
    order = np.argsort(values.scores, kind="stable")
    bins = np.array_split(order, 10)
    x = [values.scores[b].mean() for b in bins]
    y = [values.quality[b].mean() for b in bins]
    axes.plot(x, y, "o-", color=COLOURS[1], ms=4, lw=1.5)


def _label(run: RunRecord, variant: VariantRecord) -> str:
    """What tells the variants of this run apart."""
    if run.benchmark == "davis" and len({v.variant.metric for v in run.variants}) == 1:
        return variant.variant.guidance
    return variant.variant.title


def _cycle(count: int) -> Sequence[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def tidy(axes: Axes) -> None:
    """A light grid, no frame above and to the right, small letters."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.title.set_fontsize(10)
