"""How OpenMP's threads are told to wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs import openmp

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def loads(tmp_path, monkeypatch):
    """What the system tells at each look; the last is repeated."""
    file, told = tmp_path / "loadavg", []

    def tell(*runnable: str) -> None:
        told[:] = runnable
        sleep(0)

    def sleep(seconds: float) -> None:
        runnable = told.pop(0) if len(told) > 1 else told[0]
        file.write_text(f"0.52 0.58 0.59 {runnable}/834 11206\n")

    monkeypatch.setattr(openmp, "RUNNABLE", file)
    monkeypatch.setattr(openmp.time, "sleep", sleep)
    return tell


@pytest.mark.parametrize(
    ("runnable", "idle"), [(["1"], True), (["3", "1"], True), (["2"], False), (["4", "2", "2"], False), (["?"], False)]
)
def test_the_machine_is_idle_if_at_one_look_nothing_else_runs(loads, runnable, idle):
    loads(*runnable)
    assert openmp.machine_is_idle() == idle


def test_without_such_a_file_the_machine_counts_as_busy(monkeypatch, tmp_path):
    monkeypatch.setattr(openmp, "RUNNABLE", tmp_path / "missing")
    assert not openmp.machine_is_idle()


def test_threads_spin_longer_on_an_idle_machine(loads):
    for runnable, spins in (("1", openmp.LONG_SPIN), ("2", openmp.SHORT_SPIN)):
        loads(runnable)
        environment: dict[str, str] = {}
        openmp.choose_waiting(environment)
        assert environment == {"GOMP_SPINCOUNT": str(spins), "OMP_WAIT_POLICY": "PASSIVE"}


def test_what_the_user_has_set_stays(loads):
    loads("1")
    own = {"OMP_WAIT_POLICY": "ACTIVE"}
    openmp.choose_waiting(own)
    assert own == {"OMP_WAIT_POLICY": "ACTIVE"}
    spins = {"GOMP_SPINCOUNT": "7"}
    openmp.choose_waiting(spins)
    assert spins == {"GOMP_SPINCOUNT": "7", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(
    "script",
    [
        "IVOS_main_DAVIS",
        "IVOS_main_youtube",
        "libs.app.launch",
        "train",
        "libs.studies.__main__",
        "tests.benchmarks.__main__",
    ],
)
def test_every_script_chooses_before_pytorch_is_loaded(script):
    program = (
        "import importlib.abc, os, sys\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        assert name != 'torch' or 'GOMP_SPINCOUNT' in os.environ, 'too late'\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"import {script}\n"
        "assert 'GOMP_SPINCOUNT' in os.environ\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
