"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tests.benchmarks.speed import size_of

FLOORS = {  # (part, annotated frames) -> objects -> how many times faster than the plain transcription at least
    ("first", 1): {1: 1.3, 3: 2.0, 10: 2.5},
    ("later", 1): {1: 2.0, 3: 3.0, 10: 3.5},
    ("later", 3): {1: 2.0, 3: 3.0, 10: 3.5},
}
Record = dict[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def milliseconds(seconds: float | None) -> str:
    """Three digits are all that such a figure can bear."""
    return "" if seconds is None else f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"


def page(results: dict[str, Any]) -> str:
    """The whole page, from what is in the JSON file."""
    parts = [
        "# Speed and memory\n",
        "Made by `make bench` (`python -m tests.benchmarks`); the figures are in `bench.json` beside this file. Times "
        "are medians, those by part means. A row is marked *disturbed* if other programs took more than a tenth of the "
        "machine's processor time while one of its figures was measured (by /proc/stat; memory bandwidth is not "
        "seen).\n",
        "`plain` is the plain transcription of the published computation (`tests/benchmarks/plain.py`): no cache, "
        "every object on its own, dense attention. It and ours take turns in one process. *First round*: nothing is "
        "cached, every frame is encoded and reads all annotated frames. *Later rounds*: frame features are cached, and "
        "so is what the frame read from the annotated frames of earlier rounds: with 3 annotated frames the run plays "
        "rounds on the same frame and times one in which the newest annotated frame is read and the other two were "
        "read before. (Frames beyond the feature budget cost what they do in the first round.) Times are per "
        "propagated frame, reading, storing and all; the annotated frame is not among them. The published network has "
        "the golden random weights, on which its time does not depend.\n",
    ]
    sections = {
        "speed": _published,
        "compact": _compact,
        "memory": _memory,
        "switches": _switches,
        "scaling": _scaling,
        "precision": _precision,
    }
    for name, section in sections.items():
        if name in results:
            parts += section(results[name])
    return "\n".join(parts)


def _conditions(section: Record) -> str:
    m = section["machine"]
    others = section.get("others")
    busy = f"{m['load']}" if others is None else f"{m['load']}; other programs took {100 * others:.0f} % of the machine"
    return (
        f"{section['date']}, `{section['command']}`: {m['processor']}, {m['cores']} cores, {m['threads']} threads, "
        f"PyTorch {m['torch']}, Python {m['python']}; load at the start {busy}. "
        f"{section.get('note', '')}\n"
    )


DISTURBED = 0.1  # share of the machine that other programs may take before a row is marked


def disturbance(timings: Iterable[Record], cores: int) -> str:
    """What the column `disturbed` says of a row with these timings: nothing, or the share that others took."""
    shares = [t["others"] / (t["wall"] * cores) for t in timings if t and t.get("others") and t["wall"] > 0]
    highest = max(shares, default=0.0)
    return f"by {100 * highest:.0f} %" if highest > DISTURBED else ""


def _published(section: Record) -> list[str]:
    rows, cores = section["rows"], section["machine"]["cores"]
    published = [r for r in rows if r["plain"] is not None]
    out = ["## Published network against the plain transcription\n", _conditions(section)]
    if published:
        cells = []
        for row in published:
            case = row["case"]
            for kind in ("first", "later"):
                floor = FLOORS.get((kind, case["annotated_frames"]), {}).get(case["objects"])
                wall = row["plain"]["wall"] / row[kind]["wall"]
                processor = row["plain"]["processor"] / row[kind]["processor"]
                agreement = row["agreement"]
                cells.append(
                    (
                        f"{case['height']}x{case['width']}",
                        case["objects"],
                        case["annotated_frames"],
                        kind,
                        milliseconds(row["plain"]["wall"]),
                        milliseconds(row[kind]["wall"]),
                        f"**{wall:.2f}**",
                        f"{processor:.2f}",
                        "" if floor is None or case["height"] != 480 else floor,
                        "" if agreement is None else f"{100 * agreement:.3f} %",
                        disturbance([row["plain"], row[kind]], cores),
                    )
                )
        header = ("size", "objects", "annotated", "round", "plain ms", "ours ms", "ratio", "ratio of processor time")
        out.append(table((*header, "floor", "same labels", "disturbed"), cells))
        out.append(
            "Where `same labels` is empty, objects beyond three are copies and plain's time is that of three, scaled "
            "(it computes one object after the other).\n"
        )
    return [*out, "## Published network, milliseconds per frame\n", *_speed(rows, cores)]


def _compact(section: Record) -> list[str]:
    heading = ["## Compact network, milliseconds per frame\n", _conditions(section)]
    return [*heading, *_speed(section["rows"], section["machine"]["cores"])]


def _speed(rows: Sequence[Record], cores: int) -> list[str]:
    """The times per frame, and by part."""
    cells = []
    for row in rows:
        case, first, later = row["case"], row["first"], row["later"]
        cells.append(
            (
                case["architecture"],
                _size(case),
                case["objects"],
                case["annotated_frames"],
                milliseconds(first["wall"]),
                milliseconds(later["wall"]),
                f"{1 / first['wall']:.3g}",
                f"{1 / later['wall']:.3g}",
                milliseconds(row["annotate"]),
                f"{row['peak_megabytes']:.0f}",
                disturbance([first, later], cores),
            )
        )
    header = ("network", "size", "objects", "annotated", "first round", "later", "frames/s first", "frames/s later")
    out = [table((*header, "annotated frame", "peak MB", "disturbed"), cells)]
    out.append("By part, later rounds (the encoder: first round), milliseconds:\n")
    for architecture in dict.fromkeys(r["case"]["architecture"] for r in rows):
        own = [r for r in rows if r["case"]["architecture"] == architecture]
        names = list(dict.fromkeys(n for r in own for n in (*r["parts_first"], *r["parts_later"])))
        cells = []
        for row in own:
            case = row["case"]
            parts = {**row["parts_first"], **row["parts_later"]}
            other = row["later"]["wall"] - sum(row["parts_later"].values())
            name = f"{_size(case)}, {case['objects']} objects, {case['annotated_frames']} annotated"
            cells.append((name, *(milliseconds(parts.get(n)) for n in names), milliseconds(other)))
        out.append(table((architecture, *names, "other"), cells))
    return out


def _size(case: Record) -> str:
    return size_of(case["height"], case["width"], case.get("short_side"))


def _switches(section: Record) -> list[str]:
    out = [
        "## Each optimisation on and off\n",
        _conditions(section),
        "Time relative to the default, which takes turns with each; above 1 = the default is faster. `same labels`: "
        "share of pixels on which the masks agree.  Random weights give ragged masks, on which J&F falls fastest.\n",
    ]
    header = ("first round", "later rounds", "later, processor time", "same labels", "J&F against the default")
    for group in section["rows"]:
        cells = [
            (
                s["name"],
                f"{s['first']:.2f}",
                f"{s['later']:.2f}",
                f"{s['later_processor']:.2f}",
                f"{100 * s['same_pixels']:.3f} %",
                f"{s['j_and_f']:.4f}",
            )
            for s in group["switches"]
        ]
        out.append(table((group["case"], *header), cells))
    return out


def _scaling(section: Record) -> list[str]:
    out = ["## Scaling\n", _conditions(section), "Milliseconds per frame.\n"]
    for curve in dict.fromkeys(p["curve"] for p in section["rows"]):
        points = [p for p in section["rows"] if p["curve"] == curve]
        cells = [(p["x"], milliseconds(p["first"]), milliseconds(p["later"])) for p in points]
        out.append(table((curve, "first round", "later rounds"), cells))
    return out


def _memory(section: Record) -> list[str]:
    sessions = [r for r in section["rows"] if r["kind"] == "session"]
    networks = {r["objects"]: r["megabytes"] for r in section["rows"] if r["kind"] == "network"}
    cells = [
        (
            r["frames"],
            f"{r['height']}x{r['width']}",
            r["objects"],
            r["rounds"],
            f"{r['peak_megabytes']:.0f}",
            f"{r['features_megabytes']:.0f}",
            f"{r['predictions_megabytes']:.0f}",
            f"{r['masks_megabytes']:.0f}",
            f"{r['budget_megabytes']:.0f}",
        )
        for r in sessions
    ]
    out = [
        "## Memory of a session, default settings\n",
        _conditions(section),
        "Megabytes beyond what was in use before the session was opened, each session in a process of its own, with a "
        "stand-in that keeps what the published network keeps and computes nothing (the real one would take hours). "
        "`budget` is what such a session takes by an estimate: the feature budget, packed predictions, the masks, the "
        "annotated frames, 200 MB, and for every object and the background 45 float32 maps that blending, packing and "
        "the allocator need (found by measuring).\n",
        table(
            ("frames", "size", "objects", "rounds", "peak", "features", "predictions", "masks asked for", "budget"),
            cells,
        ),
    ]
    if networks:
        out.append(
            "What the published network itself needs on top while it works at 480x854, measured with its own weights "
            "(transformed weights and buffers; highest of annotating and of propagating with 3 annotated frames): "
            + ", ".join(f"{n} objects {megabytes:.0f} MB" for n, megabytes in networks.items())
            + ".\n"
        )
        for r in sessions:
            if r["objects"] in networks:
                total = r["peak_megabytes"] + networks[r["objects"]]
                out.append(
                    f"{r['frames']} frames of {r['height']}x{r['width']}, {r['objects']} objects, {r['rounds']} "
                    f"rounds: **{total:.0f} MB** beyond the network's weights.\n"
                )
    return out


def _precision(section: Record) -> list[str]:
    cells = [
        (
            r["name"],
            f"{r['j_and_f']:.4f}",
            f"{100 * r['changed']:.3f} %",
            milliseconds(r["first"]["wall"]),
            milliseconds(r["later"]["wall"]),
            f"{r['warm_up']:.1f}",
            disturbance([r["first"], r["later"]], section["machine"]["cores"]),
        )
        for r in section["rows"]
    ]
    header = ("arithmetic", "J&F", "changed pixels", "first round ms", "later ms", "warming up, seconds", "disturbed")
    return [
        "## Half precision and compiled code\n",
        _conditions(section),
        "Compact network, first sequence of the bundled sample with its first scribbles, one round; J&F against the "
        "ground truth, changed pixels against float32. Random weights would say nothing of either.\n",
        table(header, cells),
    ]
