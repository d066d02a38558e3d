"""Runs of an evaluation in a process of their own, and what two runs must have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TABLES = ("summary_in_csv.csv", "objects_J.csv", "objects_F.csv", "objects_J_AND_F.csv")


def tables(run: Path, labels: Sequence[str], names: Sequence[str] = TABLES) -> dict[str, bytes]:
    """Everything in a run's tables that no clock decides."""
    return {f"{label}/{name}": (run / label / name).read_bytes() for label in labels for name in names}


def in_process(module: str, data: Path, results: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """`python -m MODULE DATA RESULTS ...` on one thread, its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", module, str(data), str(results), *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
