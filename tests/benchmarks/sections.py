"""The sections of `python -m tests.benchmarks`, and the command."""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset_torch.atomic import check_writable, write_atomic
from libs.device import keep_freed_memory, set_threads
from tests.benchmarks.measure import Stopwatch, machine
from tests.benchmarks.memory import run_memory
from tests.benchmarks.precision import run_precision
from tests.benchmarks.scaling import run_scaling
from tests.benchmarks.speed import cases, run_cases
from tests.benchmarks.switches import run_switches
from tests.benchmarks.tables import page

FOLDER = Path(__file__).resolve().parents[2] / "results" / "bench_here"
Rows = list[dict[str, Any]]
Keep = Callable[[Rows], None]  # called with what is measured so far


def speed(quick: bool, keep: Keep, *, architecture: str) -> None:
    """One network (`resnet50` or `compact`) row by row."""
    rows: Rows = []
    for result in run_cases((c for c in cases(quick=quick) if c.architecture == architecture), complete=False):
        rows.append(asdict(result))
        print(json.dumps({k: v for k, v in rows[-1].items() if not k.startswith("parts")}), flush=True)
        keep(rows)


def switches(quick: bool, keep: Keep) -> None:
    """Optimisations on and off, for both networks."""
    rows: Rows = []
    small, large = (240, 432), (480, 854)
    plan = (
        ("resnet50", small if quick else large, 1),
        ("resnet50", small if quick else large, 3),
        ("compact", small, 1),
    )
    for architecture, (height, width), annotated in plan:
        frames, repeats = (1, 1) if architecture == "resnet50" else (4, 1 if quick else 3)
        plural = "" if annotated == 1 else "s"
        title = f"{architecture}, {height}x{width}, 3 objects, {annotated} annotated frame{plural}"
        group: dict[str, Any] = {"case": title, "switches": []}
        rows.append(group)
        for switch in run_switches(
            architecture, height, width, 3, frames=frames, repeats=repeats, annotated_frames=annotated
        ):
            group["switches"].append(asdict(switch))
            keep(rows)


def scaling(quick: bool, keep: Keep) -> None:
    """Curves."""
    rows: Rows = []
    for point in run_scaling(quick=quick):
        rows.append(asdict(point))
        keep(rows)


def memory(quick: bool, keep: Keep) -> None:
    """Long sessions."""
    rows: Rows = []
    for footprint in run_memory(quick=quick):
        rows.append(asdict(footprint))
        keep(rows)


def precision(quick: bool, keep: Keep) -> None:
    """Half precision and compiled code."""
    rows: Rows = []
    for result in run_precision(frames=3 if quick else None):
        rows.append(asdict(result))
        keep(rows)


SECTIONS: dict[str, Callable[[bool, Keep], None]] = {
    "speed": functools.partial(speed, architecture="resnet50"),
    "compact": functools.partial(speed, architecture="compact"),
    "memory": memory,
    "switches": switches,
    "scaling": scaling,
    "precision": precision,
}


def run(argv: Sequence[str] | None = None, *, description: str | None = None) -> None:
    """Measure the sections asked for; the others' results stay in the file.  Raises `UserError`."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=description)
    parser.add_argument("--quick", action="store_true", help="few frames and rows: does everything run?")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="only this section; may be repeated")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads [one per core]")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of bench.json and README.md [%(default)s]")
    arguments = parser.parse_args(argv)
    check_writable(arguments.out)
    set_threads(arguments.threads)
    keep_freed_memory()
    path = arguments.out / "bench.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    command = "python -m tests.benchmarks" + (" --quick" if arguments.quick else "")
    for name in arguments.only or SECTIONS:
        section = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "command": command}
        watch = Stopwatch().start()

        def keep(rows: Rows, name: str = name, section: dict[str, Any] = section, watch: Stopwatch = watch) -> None:
            section["others"] = watch.others_share() if name != "memory" else None  # its processes are others to us
            results[name] = {**section, "rows": rows}
            write_atomic(path, (json.dumps(results, indent=1) + "\n").encode())
            write_atomic(arguments.out / "README.md", page(results).encode())

        started = time.perf_counter()
        SECTIONS[name](arguments.quick, keep)
        print(f"{name}: {time.perf_counter() - started:.0f} s -> {arguments.out / 'README.md'}", flush=True)
