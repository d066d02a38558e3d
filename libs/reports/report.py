"""The report of a run: tables, plots and `report.html`, which opens from disk and shows all of it to a stranger."""

from __future__ import annotations

import shlex
from html import escape
from pathlib import Path

import numpy as np

from dataset_torch.atomic import write_atomic
from libs.metrics import area_over_rounds
from libs.published import SOURCE
from libs.reports import page, plots
from libs.reports.page import Cell, number_cell, text_cell
from libs.reports.records import METRIC_NAMES, RoundRecord, RunRecord, SampleRecord, VariantRecord, counted
from libs.reports.summary import mean_over_points, variant_means, variant_timings
from libs.reports.tables import MetricLine, metric_lines, to_json, write_tables

OPEN_SAMPLES = 2  # of every variant, the worst so many samples are unfolded when the page opens
BENCHMARK_TITLES = {
    "davis": "Interactive video object segmentation: DAVIS evaluation",
    "youtube": "Interactive video object segmentation: YouTube-iVOS evaluation",
}


def write_report(run_dir: str | Path, run: RunRecord) -> Path:
    """Write every table, plot and the page of a run; returns the path of `report.html`.

    The rounds' contact sheets (`libs.reports.pictures.write_round_picture`) are expected to be in the run's folder
    already; rounds without one are told in words.  Variants without samples are left out.  Atomic file by file.
    """
    run_dir = Path(run_dir)
    write_tables(run_dir, run)
    if any(v.samples for v in run.variants):
        plots.write_plots(run_dir, run)
    return write_atomic(run_dir / "report.html", report_page(run))


def report_page(run: RunRecord) -> str:
    """The page as text; pictures are named by paths relative to the run's folder."""
    variants = [v for v in run.variants if v.samples]
    title = BENCHMARK_TITLES[run.benchmark]
    sections = [
        f'<h1>{title}</h1><p class="lead">Run <b>{escape(run.name)}</b>, {escape(run.data)}</p>',
        '<nav><a href="#results">Results</a><a href="#curves">Curves</a><a href="#sequences">Per sequence</a>'
        '<a href="#pictures">Pictures</a><a href="#again">Run it again</a><a href="#words">Words</a></nav>',
    ]
    sections += [f'<p class="note">{escape(note)}</p>' for note in run.notes]
    if not variants:
        return page.page(title, "\n".join([*sections, "<p>No sample has been evaluated yet.</p>", _again(run)]))
    sections += [_cards(run, variants), _what(run, variants), _results(run, variants), _curves(variants)]
    sections += [_sequences(run, variants), _pictures(run, variants), _again(run), _words(run)]
    return page.page(f"{title}, {run.name}", "\n".join(sections))


# ---- sections ----------------------------------------------------------------------------------------------------


def _cards(run: RunRecord, variants: list[VariantRecord]) -> str:
    """The headline figure of every variant."""
    cards = []
    for variant in variants:
        metric = variant.variant.metric
        value = variant_means(variant, run.num_rounds)[metric][-1]
        label = f"{METRIC_NAMES[metric]} after round {run.num_rounds}: {_short_title(run, variant)}"
        cards.append(f'<div class="card"><b>{value:.3f}</b><span>{escape(label)}</span></div>')
    return f'<div class="cards">{"".join(cards)}</div>'


def _what(run: RunRecord, variants: list[VariantRecord]) -> str:
    samples = variants[0].samples
    many = len(samples) > len({s.sequence for s in samples})
    sets = f", {len(samples)} first-round scribble sets, each played" if many else ""
    first = (
        "points inside every object on one frame"
        if run.benchmark == "youtube"
        else "scribbles on one frame (a person's, where the data set has them, else the robot's)"
    )
    text = (
        f"<p>A network segments the objects of a video from a simulated user's marks. The first round gives {first}; "
        "in each later round a robot that sees the ground truth scribbles on the frame that needs it most, and the "
        "network carries the correction through the video. With guidance (<b>RS1</b>, <b>RS4</b>) the network itself "
        "proposes one or four frames by its reliability score, and the robot takes the worst of these; without "
        "(<b>wo_RS</b>) the robot picks the worst of all frames.</p>"
    )
    checkpoint = run.checkpoint
    description = f": {checkpoint.description}" if checkpoint.description else ""
    extent = f"{counted(variants[0].num_objects, 'object')}, {counted(variants[0].num_frames, 'frame')}"
    facts = [
        ("Data", f"{run.data}: {extent}{sets}"),
        ("Rounds", f"{run.num_rounds}"),
        ("Network", f"{checkpoint.architecture}, checkpoint {checkpoint.name}{description}"),
        ("Checkpoint SHA-256", checkpoint.sha256),
        ("Device", run.device),
        ("Code", f"git commit {run.git_commit}" if run.git_commit else "not in a git checkout"),
        ("Started", run.started),
        ("Took", _duration(run.seconds)),
        ("Model's time per round", "; ".join(_timing(run, v) for v in variants)),
    ]
    rows = [("", [text_cell(k), Cell(escape(v), "text wrap")]) for k, v in facts if v]
    return text + page.table([Cell("", "text"), Cell("", "text")], rows)


def _results(run: RunRecord, variants: list[VariantRecord]) -> str:
    timed = any(v.timed is not None for v in variants)
    lines = {v.variant: metric_lines(run, v) for v in variants}
    rows = []
    columns = 2 + run.num_rounds + 2 * timed
    for variant in variants:
        unit = "sample" if run.benchmark == "davis" else "video"
        title = (
            f"{variant.variant.title} ({counted(len(variant.samples), unit)}, {counted(variant.num_objects, 'object')})"
        )
        rows.append(("group", [Cell(escape(title), "text", columns)]))
        rows += [_result_row(line, run.num_rounds, timed) for line in lines[variant.variant]]
    for guidance, metrics in mean_over_points(run).items():
        if len({v.variant.points for v in variants}) < 2:
            continue
        rows.append(("group", [Cell(f"mean over the point counts, {escape(guidance)}", "text", columns)]))
        for metric, values in metrics.items():
            line = MetricLine(METRIC_NAMES[metric], tuple(values), area_over_rounds(values), main=metric == "J_AND_F")
            rows.append(_result_row(line, run.num_rounds, timed))
    heads = [Cell("round", "text"), *(Cell(str(r)) for r in range(1, run.num_rounds + 1)), Cell("R-AUC")]
    heads += [Cell("AUC"), Cell("after 60 s")] if timed else []
    has_published = any(line.published for found in lines.values() for line in found)
    remark = (
        f"Lines in italics are {SOURCE}, on the same objects."
        if has_published
        else "Nothing published can be put beside these: the data set, or the setting, is another one than in the "
        "published tables."
    )
    if run.differs:
        remark = f"Nothing published is put beside these: {escape('; '.join(run.differs))}."
    if has_published and run.benchmark == "youtube":
        remark += " They are labelled J&amp;F; that they are not J cannot be checked from what is published."
    means = " and scribble sets" if run.benchmark == "davis" else ""
    head = f'<h2 id="results">Results per round</h2><p>Means over the objects{means}. {remark}</p>'
    return head + page.table(heads, rows)


def _result_row(line: MetricLine, num_rounds: int, timed: bool) -> tuple[str, list[Cell]]:
    values = [*line.values, *[None] * (num_rounds - len(line.values))]
    cells = [text_cell(line.name), *(number_cell(v) for v in values), number_cell(line.r_auc)]
    if timed:
        cells += [number_cell(line.auc), number_cell(line.at_threshold)]
    return ("published" if line.published else "main" if line.main else ""), cells


def _curves(variants: list[VariantRecord]) -> str:
    out = ['<h2 id="curves">Curves</h2>']
    out.append(page.picture("curve.png", "The figures of the table above as curves.", alt="metric over rounds"))
    found = {v.variant: plots.reliability(v) for v in variants}
    if any(len(r.scores) for r in found.values()):
        caption = (
            "Does a low R-score point at a bad frame? Every dot is one frame after one round: the network's own "
            "R-score, and the true J (mean of the objects); orange: the mean of each tenth of the dots. Guidance "
            "compares frames of one video, so the rank correlation is taken inside each video and round, then "
            "averaged; the dots of all videos together can look better or worse than that."
        )
        out.append(page.picture("reliability.png", caption, alt="R-score against true J"))
        rows = [
            (
                "",
                [text_cell(v.variant.title), number_cell(r.correlation, digits=3), _percent(r.hit_rate)],
            )
            for v in variants
            if len((r := found[v.variant]).scores)
        ]
        heads = [
            Cell("", "text"),
            Cell("rank correlation of R-score and J"),
            Cell("rounds whose lowest-scored frame is among the worst fifth"),
        ]
        out.append(page.table(heads, rows))
    return "".join(out)


def _sequences(run: RunRecord, variants: list[VariantRecord]) -> str:
    out = ['<h2 id="sequences">Per sequence, the worst first</h2>']
    out.append("<p>Sorted by the last round; a click on a column's head sorts by it. Red: below 0.5.</p>")
    sets = [Cell("set")] if run.benchmark == "davis" else []
    for variant in variants:
        metric = variant.variant.metric
        out.append(f"<h3>{escape(variant.variant.title)}</h3>")
        heads = [Cell("sequence", "text"), *sets, Cell("objects"), Cell("frames")]
        heads += [Cell("round 1"), *(Cell(str(r)) for r in range(2, run.num_rounds + 1))]
        heads += [Cell("last − first"), Cell("worst object"), Cell("its id"), Cell("empty rounds")]
        rows = []
        for sample in _worst_first(variant, metric, run.num_rounds):
            values = sample.object_means(metric, run.num_rounds)  # O x R
            means = values.mean(axis=0)
            worst = int(np.argmin(values[:, -1]))
            link = f'<a href="#{_anchor(variant, sample)}">{escape(sample.sequence)}</a>'
            cells = [Cell(link, "text"), *([Cell(str(sample.scribble_set))] if sets else [])]
            cells += [Cell(str(len(sample.object_ids))), Cell(str(sample.num_frames))]
            cells += [*(number_cell(v, digits=3, css=_bad(v)) for v in means)]
            cells.append(number_cell(means[-1] - means[0], digits=3, sign=True))
            cells.append(number_cell(values[worst, -1], digits=3, css=_bad(values[worst, -1])))
            cells.append(Cell(str(sample.object_ids[worst])))
            cells.append(Cell(str(sum(r.empty for r in sample.rounds))))
            rows.append(("", cells))
        out.append(page.table(heads, rows, sortable=True, sorted_by=2 + len(sets) + run.num_rounds))
        out.append(f"<p>Per object: <code>{variant.variant.label}/objects_{metric}.csv</code>.</p>")
    return "\n".join(out)


def _pictures(run: RunRecord, variants: list[VariantRecord]) -> str:
    out = ['<h2 id="pictures">Pictures, the worst first</h2>']
    out.append(
        "<p>One sheet per round. Orange: the frame annotated in this round, with its marks drawn over the masks of the "
        "round before (white: background). Blue: frames that the network proposed afterwards. The strip below shows, "
        "for every frame, the true J and the R-score. A click opens the picture on its own.</p>"
    )
    for variant in variants:
        metric = variant.variant.metric
        out.append(f"<h3>{escape(variant.variant.title)}</h3>")
        for position, sample in enumerate(_worst_first(variant, metric, run.num_rounds)):
            out.append(_sample_pictures(run, variant, sample, opened=position < OPEN_SAMPLES))
    return "\n".join(out)


def _sample_pictures(run: RunRecord, variant: VariantRecord, sample: SampleRecord, *, opened: bool) -> str:
    metric = variant.variant.metric
    means = sample.object_means(metric).mean(axis=0)
    figures = " → ".join(f"{v:.3f}" for v in means)
    small = f"{METRIC_NAMES[metric]} {figures}; {counted(len(sample.object_ids), 'object')}, "
    small += f"{counted(sample.num_frames, 'frame')}, {sample.width} × {sample.height}"
    which = f", set {sample.scribble_set}" if run.benchmark == "davis" else ""
    parts = [f"<p>{escape(sample.note)}</p>"] if sample.note else []
    plot = f"{variant.variant.label}/plots/{sample.name}.png"
    parts.append(page.picture(plot, "J of every frame after every round.", alt=f"J per frame of {sample.sequence}"))
    parts += [_round_part(sample, record) for record in sample.rounds]
    return (
        f'<details id="{_anchor(variant, sample)}"{" open" if opened else ""}><summary>{escape(sample.sequence)}{which}'
        f"<small>{escape(small)}</small></summary>{''.join(parts)}</details>"
    )


def _round_part(sample: SampleRecord, record: RoundRecord) -> str:
    caption = f"Round {record.round}: frame {record.annotated_frame} annotated, {_marks(record)}."
    if record.candidates:
        caption += f" Proposed next, best first: {', '.join(map(str, record.candidates))}."
    if record.late:
        return (
            f"<p>Round {record.round} came after the time limit and was not counted; the figures before it stand.</p>"
        )
    if record.empty:
        return f"<p>Round {record.round}: the robot found nothing to correct; everything stayed as it was.</p>"
    if record.picture is None:
        return f"<p>{escape(caption)}</p>"
    return page.picture(record.picture, escape(caption), alt=f"{sample.sequence}, round {record.round}")


def _again(run: RunRecord) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    commit = f"git checkout {run.git_commit}\n" if run.git_commit and "dirty" not in run.git_commit else ""
    folder = Path(str(run.options.get("results_dir", "results"))) / run.benchmark / run.name
    return (
        f'<h2 id="again">Run it again</h2><pre>{escape(commit + run.command)}</pre>'
        "<p>The same command goes on where a run that was stopped ended, and otherwise only makes this page again. "
        "Figures do not depend on the number of processes. Times do, and so does the AUC over seconds.</p>"
        "<p>To put the settings of this run beside each other, another run or the published tables, with confidence "
        f"intervals: <code>python -m libs.compare {escape(shlex.quote(str(folder)))} --out comparison</code></p>"
        f"<p>Versions: {escape(versions)}.</p>"
        f"<details><summary>All settings</summary><pre>{escape(to_json(run.options))}</pre></details>"
        "<p>Files beside this page: <code>summary.json</code> (everything above as numbers); per setting a folder with "
        "<code>summary.json</code>, <code>summary_in_csv.csv</code> (the published form), <code>objects_*.csv</code>, "
        "and <code>samples/</code> (every frame's J, F and R-score in every round, and every stroke).</p>"
    )


def _words(run: RunRecord) -> str:
    words = [
        ("J", "area of overlap of mask and ground truth over the area of their union; 1 is perfect"),
        ("F", "how well the outlines agree (F-measure of boundary precision and recall); 1 is perfect"),
        ("J&F", "the mean of J and F"),
        ("round", "one annotation and its propagation through the video"),
        ("R-score", "the network's own estimate of how reliable its mask of a frame is; low means probably wrong"),
        ("R-AUC", "area under the curve of the rounds, from the first to the last; no machine's speed changes it"),
        (
            "empty frame",
            "where an object is absent both from the ground truth and from the mask, J = F = 1; where from one only, 0",
        ),
        ("empty round", "the robot found nothing to correct; the round counts and changes nothing"),
    ]
    if run.benchmark == "davis":
        words += [
            ("AUC", "area under the metric's curve over seconds, as the DAVIS framework computes it"),
            ("after 60 s", "the same curve, read off at 60 seconds"),
            ("set", "number of the scribble file that the first round came from"),
        ]
    body = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in words)
    return f'<h2 id="words">Words</h2><dl>{body}</dl>'


# ---- small things ------------------------------------------------------------------------------------------------


def _worst_first(variant: VariantRecord, metric: str, num_rounds: int) -> list[SampleRecord]:
    return sorted(variant.samples, key=lambda s: s.object_means(metric, num_rounds)[:, -1].mean())


def _anchor(variant: VariantRecord, sample: SampleRecord) -> str:
    return escape(f"{variant.variant.label}/{sample.name}", quote=True)


def _percent(share: float) -> Cell:
    return Cell("" if share != share else f"{100 * share:.0f} %")


def _bad(value: float) -> str:
    return "bad" if value < 0.5 else ""


def _short_title(run: RunRecord, variant: VariantRecord) -> str:
    many_metrics = len({v.variant.metric for v in run.variants}) > 1
    return variant.variant.title if run.benchmark == "youtube" or many_metrics else variant.variant.guidance


def _marks(record: RoundRecord) -> str:
    if record.annotation is None:
        return "marks not kept"
    parts = [
        counted(len(marks), name)
        for marks, name in ((record.annotation.scribbles, "stroke"), (record.annotation.clicks, "point"))
        if marks
    ]
    return " and ".join(parts) or "no marks"


def _timing(run: RunRecord, variant: VariantRecord) -> str:
    times = variant_timings(variant)
    frame_ms = 1000 * times["per_frame_mean_s"]
    return f"{_short_title(run, variant)}: {times['round_mean_s']:.2f} s ({frame_ms:.0f} ms a frame)"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60)} s"
