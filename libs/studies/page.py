"""The page of the studies, self-contained, with its tables beside it as CSV and JSON."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dataset_torch.atomic import write_atomic
from libs.reports.page import Cell, number_cell, page, table, text_cell
from libs.reports.pictures import figure_png
from libs.reports.tables import to_json
from libs.studies import plots
from libs.studies.methods import NETWORK
from libs.studies.policies import ORACLE
from libs.studies.summary import (
    CORRELATION_TARGETS,
    ORACLE_MARGIN,
    TARGETS,
    Correlation,
    Curve,
    Findings,
    Foresight,
    Guidance,
    VideoRuns,
    findings,
    mean_correlation,
)


@dataclass(frozen=True)
class About:
    """What the page says of its own making."""

    command: str
    checkpoint: str  # file name, digest, description
    date: str
    protocols: Mapping[str, str]  # video -> frames, size, rounds
    notes: tuple[str, ...] = ()


def write_page(folder: Path, runs: Mapping[str, Mapping[str, VideoRuns]], about: About) -> Path:
    """Write `index.html`, `rounds.csv`, `guidance.csv`, `correlation.csv`, `summary.json`; returns the page's path.

    `runs`: data set -> video -> (method, policy) -> rounds.
    """
    found = [findings(dataset, runs[dataset]) for dataset in sorted(runs)]
    body = ["<h1>Does the method do what it claims?</h1>", _lead(about)]
    for f in found:
        body.append(f"<h2>Data: {escape(f.dataset)} ({len(f.videos)} videos)</h2>")
        body += _dataset(f, runs[f.dataset])
    body.append(_making(about))
    write_atomic(folder / "rounds.csv", _rounds_csv(found))
    write_atomic(folder / "guidance.csv", _guidance_csv(found))
    write_atomic(folder / "correlation.csv", _correlation_csv(found))
    write_atomic(folder / "summary.json", to_json([summary(f) for f in found]))
    return write_atomic(folder / "index.html", page("Studies", "\n".join(body)))


def summary(f: Findings) -> dict[str, Any]:
    """The main figures of one data set as plain JSON values."""

    def lines(curves: Sequence[Curve]) -> list[dict[str, Any]]:
        return [
            {
                "method": c.method,
                "policy": c.policy,
                "rounds": c.rounds.tolist(),
                "area": c.area,
                "videos": len(c.videos),
            }
            for c in curves
        ]

    out: dict[str, Any] = {"dataset": f.dataset, "videos": list(f.videos)}
    out["baselines"], out["attention"] = lines(f.baselines), lines(f.attention)
    if f.guidance is not None:
        areas = f.guidance.random_areas
        out["guidance"] = {
            "lines": lines([f.guidance.oracle, *f.guidance.guided]),
            "random": {"seeds": len(areas), "mean": areas.mean(), "standard_deviation": areas.std(ddof=1)},
            "random_least": areas.min(),
            "random_most": areas.max(),
            "worst_of_four_random": [c.area for c in f.guidance.random_four],
        }
    if f.foresight:
        out["foresight"] = {x.measure: x.correlation for x in f.foresight}
    if f.correlations:
        mean = mean_correlation(f.correlations)
        out["correlation"] = {"round_1": mean.first, "mean_of_rounds": mean.mean, "pooled": mean.pooled}
    return out


def _lead(about: About) -> str:
    return (
        '<p class="lead">Rounds of the light DAVIS loop: the framework\'s robot strokes the middle frame of an empty '
        "prediction, then corrects one frame a round; J and F of all frames, at a shorter side of 240 pixels. "
        "wo_RS: the robot corrects the truly worst frame (it sees the truth). RS1, RS4: it goes where "
        "guidance sends it (to doubt, 1 - R-score, that no annotation is near); of RS4's four proposals it takes the "
        "truly worst. Area: the mean height of the curve over rounds.</p>"
        f"<p>Weights: {escape(about.checkpoint)}. {escape(about.date)}.</p>"
        + "".join(f'<p class="note">{escape(note)}</p>' for note in about.notes)
    )


def _dataset(f: Findings, runs: Mapping[str, VideoRuns]) -> list[str]:
    body: list[str] = []
    if f.baselines:
        body += ["<h3>The network and two things one could use instead</h3>", _baseline_words(f.baselines)]
        body += [_curve_table(f.baselines), _figure(plots.curve_figure(f.baselines, targets=f.dataset == "real"))]
        body.append(_per_video(f.baselines))
    if f.attention:
        body += ["<h3>Attention over the annotated frames, and local propagation</h3>"]
        body.append(
            "<p>The trained network with one part replaced at test time; every variant is corrected on its own truly "
            "worst frame. Those that differ only with several annotated frames share the network's round 1.</p>"
        )
        body += [_curve_table(f.attention, against_first=True), _figure(plots.curve_figure(f.attention, targets=False))]
        body.append(_per_video(f.attention))
    if f.guidance is not None:
        body += ["<h3>Guidance: R-score, chance, and the truth</h3>", _guidance_words(f.guidance)]
        body += [_guidance_table(f.guidance), _figure(plots.guidance_figure(f.guidance))]
    if f.foresight:
        body += ["<h3>What foretells how much a round wins?</h3>", _foresight_table(f.foresight)]
    if f.correlations:
        body += ["<h3>Does a low R-score mean a bad frame?</h3>", _correlation_table(f.correlations)]
        figure = plots.score_figure(runs)
        body += [_figure(figure)] if figure is not None else []
    return body or ["<p>No run is finished.</p>"]


def _baseline_words(curves: Sequence[Curve]) -> str:
    out = []
    for policy in dict.fromkeys(c.policy for c in curves):
        same = [c for c in curves if c.policy == policy]
        mine = [c for c in same if c.method == NETWORK]
        rivals = [c for c in same if c.method != NETWORK]
        if mine and rivals:
            ahead = [bool((mine[0].rounds > r.rounds).all()) for r in rivals]
            which = "both baselines" if len(rivals) == 2 else rivals[0].title
            out.append(f"{policy}: {'' if all(ahead) else 'not '}ahead of {which} in every round")
    return f"<p>{escape('; '.join(out))}.</p>" if out else ""


def _curve_table(curves: Sequence[Curve], *, against_first: bool = False) -> str:
    rounds = range(1, len(curves[0].rounds) + 1)
    heads = [
        Cell("J&amp;F in round", "text"),
        Cell("frame by", "text"),
        *(Cell(str(r)) for r in rounds),
        Cell("area"),
        Cell("videos"),
    ]
    heads += [Cell("area − the network's")] if against_first else []
    rows = []
    for c in curves:
        cells = [text_cell(c.title), text_cell(c.policy), *(number_cell(v, digits=3) for v in c.rounds)]
        cells += [number_cell(c.area, digits=3), Cell(str(len(c.videos)))]
        if against_first:
            cells.append(number_cell(None if c is curves[0] else c.area - curves[0].area, digits=4, sign=True))
        rows.append(("main" if c.method == NETWORK else "", cells))
    return table(heads, rows)


def _per_video(curves: Sequence[Curve]) -> str:
    shown = [c for c in curves if c.policy == ORACLE]
    if not shown:
        return ""
    last = len(shown[0].rounds)
    heads = [Cell("video", "text")]
    heads += [Cell(f"{escape(c.method)}<br>round 1") for c in shown] + [Cell(f"round {last}") for c in shown]
    rows = [
        ("", [text_cell(v), *(number_cell(c.values[i, k], digits=3) for k in (0, -1) for c in shown)])
        for i, v in enumerate(shown[0].videos)
    ]
    return f"<details><summary>Every video<small>J&amp;F, wo_RS</small></summary>{table(heads, rows)}</details>"


def _guidance_words(g: Guidance) -> str:
    areas = g.random_areas
    out = [
        f"{len(areas)} random policies: area {areas.mean():.4f}, standard deviation {areas.std(ddof=1):.4f}, from "
        f"{areas.min():.4f} to {areas.max():.4f}."
    ]
    for c in g.guided:
        chance = "above chance by more than that" if g.beats_chance(c) else "not above chance by more than that"
        oracle = f"within {ORACLE_MARGIN}" if g.near_oracle(c) else f"not within {ORACLE_MARGIN}"
        out.append(f"{c.policy}: {c.area:.4f}, {chance}; {oracle} of the oracle ({g.oracle.area:.4f}).")
    if g.random_four:
        four = [c.area for c in g.random_four]
        out.append(
            f"RS4's fair rival, the truly worst of four random frames: {sum(four) / len(four):.4f} ({len(four)} seeds)."
        )
    return f"<p>{escape(' '.join(out))} {len(g.oracle.videos)} videos.</p>"


def _guidance_table(g: Guidance) -> str:
    rounds = range(1, len(g.oracle.rounds) + 1)
    heads = [Cell("J&amp;F in round", "text"), *(Cell(str(r)) for r in rounds), Cell("area"), Cell("area − random")]
    areas = g.random_areas
    mean = sum(c.rounds for c in g.random) / len(g.random)
    lines = [("oracle worst frame (wo_RS)", g.oracle.rounds, g.oracle.area)]
    lines += [(c.policy, c.rounds, c.area) for c in g.guided]
    lines.append((f"random, mean of {len(g.random)}", mean, float(areas.mean())))
    if g.random_four:
        four = sum(c.rounds for c in g.random_four) / len(g.random_four)
        lines.append(("worst of four random", four, float(sum(c.area for c in g.random_four) / len(g.random_four))))
    rows = [
        (
            "main" if title.startswith("RS") else "",
            [
                text_cell(title),
                *(number_cell(v, digits=3) for v in values),
                number_cell(area),
                number_cell(area - areas.mean(), sign=True),
            ],
        )
        for title, values, area in lines
    ]
    return table(heads, rows)


def _foresight_table(found: Sequence[Foresight]) -> str:
    heads = [Cell("measure of the next frame, before the round", "text"), Cell("correlation"), Cell("standard error")]
    heads.append(Cell("groups"))
    rows = [
        (
            "main" if i == 0 else "",
            [
                text_cell(x.measure),
                number_cell(x.correlation, digits=2),
                number_cell(x.error, digits=2),
                Cell(str(x.groups)),
            ],
        )
        for i, x in enumerate(found)
    ]
    return (
        "<p>Spearman's correlation with the gain in mean J&amp;F, over the random policies' rounds of one number on "
        "one video, which differ in the frame that is corrected; mean over videos and rounds.</p>" + table(heads, rows)
    )


def _correlation_table(found: Sequence[Correlation]) -> str:
    heads = [
        Cell("Spearman's correlation of R-score and J", "text"),
        Cell("after round 1"),
        Cell("all rounds, mean of each"),
        Cell("all rounds, pooled"),
    ]
    mean = mean_correlation(found)
    rows = [
        (css, [text_cell(c.video), *(number_cell(v, digits=2) for v in (c.first, c.mean, c.pooled))])
        for css, c in [*(("", c) for c in found), ("main", mean)]
    ]
    first, later = CORRELATION_TARGETS
    return f"<p>Aimed at: {first} after round 1, {later} over all rounds (runs wo_RS).</p>" + table(heads, rows)


def _making(about: About) -> str:
    rows = [("", [text_cell(v), text_cell(p)]) for v, p in sorted(about.protocols.items())]
    return (
        f"<h2>How this was made</h2><pre>{escape(about.command)}</pre>"
        "<p>Tables: <a href='rounds.csv'>rounds.csv</a>, <a href='guidance.csv'>guidance.csv</a>, "
        "<a href='correlation.csv'>correlation.csv</a>, <a href='summary.json'>summary.json</a>; every run: "
        "<code>records/</code>. J&amp;F that was aimed at on real videos when the network was begun: "
        + ", ".join(f"{v:.2f} in round {r}" for r, v in TARGETS.items())
        + f".</p>{table([Cell('video', 'text'), Cell('part used', 'text')], rows)}"
    )


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure_png(figure)).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt="The table\'s figures as curves"></figure>'


def _csv(rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _rounds_csv(found: Sequence[Findings]) -> str:
    """Each run once, though several studies show it, and not all of them on every video."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for f in found:
        curves = [*f.baselines, *f.attention]
        if f.guidance is not None:
            g = f.guidance
            curves += [g.oracle, *g.guided, *g.random, *g.random_four]
        for c in curves:
            for video, values, area in zip(c.videos, c.values, c.areas, strict=True):
                rows[f.dataset, c.method, c.policy, video] = [*(f"{v:.5f}" for v in values), f"{area:.5f}"]
    width = max(map(len, rows.values()), default=1) - 1
    head = ["dataset", "method", "policy", "video", *(f"round-{i + 1}" for i in range(width)), "area"]
    return _csv([head, *([*key, *values] for key, values in sorted(rows.items()))])


def _guidance_csv(found: Sequence[Findings]) -> str:
    rows: list[list[object]] = [["dataset", "policy", "area", "videos"]]
    for f in found:
        if f.guidance is not None:
            g = f.guidance
            everything = (g.oracle, *g.guided, *g.random, *g.random_four)
            rows += [[f.dataset, c.policy, f"{c.area:.5f}", len(c.videos)] for c in everything]
    return _csv(rows)


def _correlation_csv(found: Sequence[Findings]) -> str:
    rows: list[list[object]] = [["dataset", "video", "round-1", "mean-of-rounds", "pooled"]]
    for f in found:
        for c in (*f.correlations, *([mean_correlation(f.correlations)] if f.correlations else [])):
            rows.append([f.dataset, c.video, *(f"{v:.4f}" for v in (c.first, c.mean, c.pooled))])
    return _csv(rows)
