"""The training script: what it says, how it ends, and that torchrun starts it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

import train
from config import Config
from dataset_torch.synthetic.shards import pack_clip
from libs.training import run
from libs.training.engine import Engine
from libs.training.folder import claim
from libs.training.recipe import RECIPES, purpose, setting_names
from libs.training.state import read_state
from tests.libs.training.toys import square_clip

ROOT = Path(train.__file__).parent


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "0000-000000.npz").write_bytes(pack_clip(square_clip(0)))
    return folder


@pytest.fixture
def steps_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that only count; the second gets Ctrl-C."""

    def step(engine: Engine) -> tuple[list, float]:
        engine.state.step += 1
        if engine.state.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return [], 0.0

    monkeypatch.setattr(Engine, "step", step)


def script_options() -> list[str]:
    """Every option of train.py and of the two evaluations."""
    ours = [line.split()[0].rstrip(",") for line in train_help().splitlines() if line.lstrip().startswith("--")]
    return sorted({*ours, "--start-from", *(f"--{f.name.replace('_', '-')}" for f in fields(Config))})


def train_help() -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        train.arguments(["--help"])
    return text.getvalue()


@pytest.mark.parametrize("option", script_options())
def test_torchrun_passes_every_option_on(option: str) -> None:
    given = get_args_parser().parse_args(["--nproc_per_node", "2", "train.py", option, "value"])
    assert given.training_script_args == [option, "value"]


def test_a_run_stopped_with_ctrl_c_is_saved_and_goes_on(
    clips: Path, tmp_path: Path, steps_do_nothing: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["--data", f"clips:{clips}", "--out", str(out), "--start-from", "compact", "--device", "cpu"]
    command += ["--threads", "1", "--set", "steps=5", "--set", "precision=float32"]
    assert train.main(command) == 0
    said = capsys.readouterr().out
    assert "starts from compact" in said and "new run: step 0 of 5" in said
    assert "RenderedClips: 1 items, skipped: none" in said
    assert "stopped, and goes on with the same command: step 2 of 5" in said
    assert read_state(out / "state.pth")["step"] == 2 and (out / "last.pth").is_file()

    assert train.main([*command, "--set", "gradient_norm=0.5"]) == 0
    said = capsys.readouterr().out
    assert "starts from" not in said and "resumed: step 2 of 5" in said
    assert "notice: since this run began, gradient_norm was 1.0, is 0.5" in said
    assert "done: step 5 of 5" in said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_first_step_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "open_set", interrupted)
    assert train.main(["--out", str(tmp_path), "--device", "cpu"]) == 130
    assert capsys.readouterr().err == "\ninterrupted before the first step\n"


def test_ctrl_c_while_pytorch_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    program = (
        "import importlib.abc, sys, train\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.exit(train.main(['--out', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "\ninterrupted before the first step\n")


def test_the_help_tells_recipes_settings_defaults_and_examples() -> None:
    text = " ".join(train_help().split())
    for name in RECIPES:
        assert f"{name} {purpose(name)}" in text and len(purpose(name)) > 20
    assert all(name in text for name in (*setting_names(), "[compact]", "[auto]", "[workspace/training]"))
    assert "python train.py --data clips:CLIPS --validation clips:OTHERS" in text


def test_the_folder_is_looked_at_before_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert train.main(["--data", "clips:nowhere", "--out", str(tmp_path / "file"), "--device", "cpu"]) == 2
    assert "Choose another --out" in capsys.readouterr().err
    with claim(tmp_path / "run"):
        assert train.main(["--data", "clips:nowhere", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
        assert "another run is at work" in capsys.readouterr().err
        # The other processes of a run under torchrun do not ask.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", "1")
            assert train.main(["--data", "clips:nowhere", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
        assert "holds no rendered clips" in capsys.readouterr().err
