"""The figures of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from libs.reports.plots import COLOURS, MUTED, tidy
from libs.studies.methods import NETWORK
from libs.studies.policies import ORACLE
from libs.studies.summary import TARGETS, Curve, Guidance, VideoRuns


def curve_figure(curves: Sequence[Curve], *, targets: bool) -> Figure:
    """J&F over rounds; one colour per method, wo_RS solid, guided dashed; crosses: what was aimed at."""
    figure = Figure(figsize=(7.4, 4.2), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots()
    colour = {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(dict.fromkeys(c.method for c in curves))}
    for curve in curves:
        x = np.arange(1, len(curve.rounds) + 1)
        style = "o-" if curve.policy == ORACLE else "s--"
        axes.plot(
            x, curve.rounds, style, ms=4, lw=1.5, color=colour[curve.method], label=f"{curve.title}, {curve.policy}"
        )
    last = len(curves[0].rounds)
    if targets:
        points = {r: v for r, v in TARGETS.items() if r <= last}
        axes.plot(list(points), list(points.values()), "x", color=MUTED, ms=8, mew=2, label="aimed at")
    axes.set(xlabel="round", ylabel="J&F, mean over videos", xticks=range(1, last + 1))
    axes.legend(fontsize=7.5)
    tidy(axes)
    return figure


def guidance_figure(guidance: Guidance) -> Figure:
    """Left J&F over rounds with the band of the random policies; right the areas, a dot per seed."""
    figure = Figure(figsize=(10, 4), dpi=100, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    chance = np.array([c.rounds for c in guidance.random])
    x = np.arange(1, chance.shape[1] + 1)
    left.fill_between(x, chance.min(0), chance.max(0), color=MUTED, alpha=0.25, lw=0, label="random: least to most")
    left.plot(x, chance.mean(0), color=MUTED, lw=1.5, label="random: mean")
    named = [guidance.oracle, *guidance.guided]
    for curve, colour in zip(named, COLOURS, strict=False):
        label = "oracle worst frame (wo_RS)" if curve.policy == ORACLE else curve.policy
        left.plot(x, curve.rounds, "o-", ms=4, lw=1.5, color=colour, label=label)
    left.set(xlabel="round", ylabel="J&F, mean over videos", xticks=x)
    left.legend(fontsize=8)
    lines = [("random", guidance.random, MUTED)]
    if guidance.random_four:
        lines.append(("worst of 4 random", guidance.random_four, MUTED))
    lines += [(c.policy, (c,), colour) for c, colour in zip(named, COLOURS, strict=False)]
    for row, (_, group, colour) in enumerate(lines):
        right.plot([c.area for c in group], [row] * len(group), "o", color=colour, ms=6, alpha=0.7)
    right.set(xlabel="area over rounds", yticks=range(len(lines)), ylim=(-0.6, len(lines) - 0.4))
    right.set_yticklabels([name for name, _, _ in lines], fontsize=9)
    for axes in (left, right):
        tidy(axes)
    return figure


def score_figure(runs: Mapping[str, VideoRuns]) -> Figure | None:
    """R-score against J, a dot per frame: after round 1, and after the later rounds; a colour per video."""
    found = [(v, runs[v][NETWORK, ORACLE]) for v in sorted(runs) if (NETWORK, ORACLE) in runs[v]]
    if not found:
        return None
    figure = Figure(figsize=(9.5, 4), dpi=100, facecolor="white", layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for index, (video, rounds) in enumerate(found):
        colour = COLOURS[index % len(COLOURS)]
        panels[0].plot(rounds[0].scores, rounds[0].j, ".", ms=5, alpha=0.6, mew=0, color=colour, label=video)
        for r in rounds[1:]:
            panels[1].plot(r.scores, r.j, ".", ms=4, alpha=0.3, mew=0, color=colour)
    for panel, title in zip(panels, ("after round 1", "after the later rounds"), strict=True):
        panel.set(xlabel="R-score", ylabel="true J", title=title)
        tidy(panel)
    panels[0].legend(fontsize=7)
    return figure
