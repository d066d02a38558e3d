"""The page of a comparison: per pair the means, the differences with intervals, a scatter plot, and every sequence."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dataset_torch.atomic import write_atomic
from libs.compare import Comparison
from libs.metrics import area_over_rounds
from libs.reports import page
from libs.reports.page import Cell, number_cell, text_cell
from libs.reports.pictures import figure_png
from libs.reports.plots import COLOURS, MUTED, tidy
from libs.reports.records import counted
from libs.reports.tables import to_json


def write_comparison(folder: str | Path, comparisons: Sequence[Comparison]) -> Path:
    """Write `comparison.html`, `comparison.json`, and per pair a plot and a table of sequences; returns the page."""
    folder = Path(folder)
    for comparison in comparisons:
        write_atomic(folder / f"{comparison.name}.png", figure_png(comparison_figure(comparison)))
        write_atomic(folder / f"{comparison.name}.csv", sequence_csv(comparison))
    write_atomic(folder / "comparison.json", to_json([comparison_summary(c) for c in comparisons]))
    body = [
        "<h1>Comparison</h1>",
        '<p class="lead">Paired: the same object on both sides. A − B above 0: A is better.</p>',
    ]
    body += [_section(c) for c in comparisons]
    return write_atomic(folder / "comparison.html", page.page("Comparison", "\n".join(body)))


def comparison_summary(comparison: Comparison) -> dict:
    """The figures as plain JSON values."""
    c = comparison
    return {
        "first": c.first.name,
        "second": c.second.name,
        "metric": c.metric,
        "lines": len(c.keys),
        "resampled": c.resample,
        "only_first": c.only_first,
        "only_second": c.only_second,
        "first_rounds": c.a.mean(axis=0).tolist(),
        "second_rounds": c.b.mean(axis=0).tolist(),
        "difference": {k: getattr(c.difference, k).tolist() for k in ("mean", "low", "high")},
        "notes": c.notes,
        "r_auc_difference": {k: float(getattr(c.r_auc_difference, k)[0]) for k in ("mean", "low", "high")},
    }


def sequence_csv(comparison: Comparison) -> str:
    """Per sequence: both sides and the difference in every round."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    rounds = range(1, comparison.a.shape[1] + 1)
    writer.writerow(["sequence", *(f"{side}-round-{r}" for side in ("A", "B", "difference") for r in rounds)])
    for name, a, b in comparison.sequences():
        writer.writerow([name, *(repr(float(v)) for v in (*a, *b, *(a - b)))])
    return buffer.getvalue()


def comparison_figure(comparison: Comparison) -> Figure:
    """Left the objects of the last round, A over B; right the mean difference per round with its interval."""
    c = comparison
    figure = Figure(figsize=(10.5, 4.6), dpi=110, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    last = c.a.shape[1]
    left.plot([0, 1], [0, 1], color=MUTED, lw=1)
    left.plot(c.b[:, -1], c.a[:, -1], ".", ms=7, alpha=0.55, mew=0, color=COLOURS[0])
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=f"every object, round {last}")
    left.set_xlabel(f"B: {c.second.name}", fontsize=9)
    left.set_ylabel(f"A: {c.first.name}", fontsize=9)
    above, below = int((c.a[:, -1] > c.b[:, -1]).sum()), int((c.a[:, -1] < c.b[:, -1]).sum())
    left.text(0.03, 0.97, f"A better: {above}", transform=left.transAxes, va="top", fontsize=9)
    left.text(0.97, 0.03, f"B better: {below}", transform=left.transAxes, ha="right", fontsize=9)
    x, d = np.arange(1, last + 1), c.difference
    right.axhline(0, color=MUTED, lw=1)
    right.errorbar(x, d.mean, (d.mean - d.low, d.high - d.mean), fmt="o-", capsize=4, color=COLOURS[1], lw=1.6)
    right.set(
        xticks=x, xlabel="round", title=f"A − B, mean {c.metric} with 95 % interval (bootstrap over {c.resample})"
    )
    for axes in (left, right):
        tidy(axes)
    return figure


def _section(c: Comparison) -> str:
    rounds = range(1, c.a.shape[1] + 1)
    d, area = c.difference, c.r_auc_difference
    heads = [Cell("round", "text"), *(Cell(str(r)) for r in rounds), Cell("R-AUC")]
    means = [x.mean(axis=0) for x in (c.a, c.b)]
    rows = [
        ("", [text_cell(f"{n}: {t.name}"), *map(number_cell, m), number_cell(area_over_rounds(m))])
        for n, t, m in (("A", c.first, means[0]), ("B", c.second, means[1]))
    ]
    rows += [
        (css, [text_cell(name), *(number_cell(v, sign=True) for v in values), number_cell(last, sign=True)])
        for css, name, values, last in (
            ("main", "A − B", d.mean, area.mean[0]),
            ("", "95 % interval from", d.low, area.low[0]),
            ("", "to", d.high, area.high[0]),
        )
    ]
    left_out = (
        f" Left out: {counted(c.only_first, 'line')} that only A has, {c.only_second} that only B has."
        if (c.only_first or c.only_second)
        else ""
    )
    sequence_heads = [
        Cell("sequence", "text"),
        Cell(f"A, round {rounds[-1]}"),
        Cell("B"),
        Cell("A − B"),
        Cell("A − B, mean of rounds"),
    ]
    sequence_rows = [
        (
            "",
            [
                text_cell(name),
                number_cell(a[-1], digits=3),
                number_cell(b[-1], digits=3),
                number_cell(a[-1] - b[-1], digits=3, sign=True, css="bad" if a[-1] - b[-1] < -0.05 else ""),
                number_cell(float((a - b).mean()), digits=3, sign=True),
            ],
        )
        for name, a, b in c.sequences()
    ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in c.notes)
    table = page.table(sequence_heads, sequence_rows, sortable=True, sorted_by=3)
    return (
        f"<h2>{escape(c.first.name)} and {escape(c.second.name)}</h2>"
        f"<p>{escape(c.metric)}, {c.extent}.{left_out}</p>"
        f"{notes}"
        f"{page.table(heads, rows)}"
        f"{page.picture(f'{c.name}.png', '', alt='A against B, and the difference per round')}"
        "<details><summary>Every sequence<small>where A loses most first; red: by more than 0.05</small></summary>"
        f"{table}</details>"
    )
