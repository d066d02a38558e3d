"""`python -m tests.benchmarks`: speed and memory, as JSON and a Markdown page in results/bench."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset_torch.atomic import write_atomic
from libs.device import keep_freed_memory, set_threads
from tests.benchmarks.measure import machine
from tests.benchmarks.memory import run_memory
from tests.benchmarks.scaling import run_scaling
from tests.benchmarks.speed import cases, run_cases
from tests.benchmarks.switches import run_switches
from tests.benchmarks.tables import page

FOLDER = Path(__file__).resolve().parents[2] / "results" / "bench"
Rows = list[dict[str, Any]]
Keep = Callable[[Rows], None]  # called with what is measured so far


def speed(quick: bool, keep: Keep) -> None:
    """Both networks row by row."""
    rows: Rows = []
    for result in run_cases(cases(quick=quick), complete=not quick):
        rows.append(asdict(result))
        print(json.dumps({k: v for k, v in rows[-1].items() if not k.startswith("parts")}), flush=True)
        keep(rows)


def switches(quick: bool, keep: Keep) -> None:
    """Optimisations on and off, for both networks."""
    rows: Rows = []
    size = (240, 432) if quick else (480, 854)
    plan = (("compact", 240, 432, 3), ("resnet50", *size, 3))
    for architecture, height, width, objects in plan:
        frames = 1 if architecture == "resnet50" else 4
        found = run_switches(architecture, height, width, objects, frames=frames, repeats=1 if quick else 3)
        title = f"{architecture}, {height}x{width}, {objects} objects, 1 annotated frame"
        rows.append({"case": title, "switches": [asdict(s) for s in found]})
        keep(rows)


def scaling(quick: bool, keep: Keep) -> None:
    """Curves."""
    keep([asdict(point) for point in run_scaling(quick=quick)])


def memory(quick: bool, keep: Keep) -> None:
    """Long sessions."""
    rows: Rows = []
    for footprint in run_memory(quick=quick):
        rows.append(asdict(footprint))
        keep(rows)


SECTIONS: dict[str, Callable[[bool, Keep], None]] = {
    "speed": speed,
    "switches": switches,
    "scaling": scaling,
    "memory": memory,
}


def main() -> None:
    """Measure the sections asked for; the others' results stay in the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames and rows; minutes instead of an hour")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="only this section; may be repeated")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads [one per core]")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of bench.json and README.md")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    keep_freed_memory()
    path = arguments.out / "bench.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    command = "python -m tests.benchmarks" + (" --quick" if arguments.quick else "")
    for name in arguments.only or SECTIONS:
        section = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "command": command}

        def keep(rows: Rows, name: str = name, section: dict[str, Any] = section) -> None:
            results[name] = {**section, "rows": rows}
            write_atomic(path, (json.dumps(results, indent=1) + "\n").encode())
            write_atomic(arguments.out / "README.md", page(results).encode())

        started = time.perf_counter()
        SECTIONS[name](arguments.quick, keep)
        print(f"{name}: {time.perf_counter() - started:.0f} s -> {arguments.out / 'README.md'}", flush=True)


if __name__ == "__main__":
    main()
