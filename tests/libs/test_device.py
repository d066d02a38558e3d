"""Device, precision and threads."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
import torch

from dataset_torch.errors import UserError
from libs import device
from libs.device import (
    Precision,
    autocast,
    check_training,
    choose_device,
    computes_bfloat16,
    device_of_process,
    set_threads,
    synchronise,
)


def pretend(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("gpus", "mps", "expected"), [(0, False, "cpu"), (2, False, "cuda"), (0, True, "mps")])
def test_auto_takes_the_fastest(monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, expected: str) -> None:
    pretend(monkeypatch, gpus=gpus, mps=mps)
    assert choose_device("auto") == torch.device(expected)
    assert choose_device(" CPU ") == torch.device("cpu")


def test_named_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"2 GPUs: cuda:0 \.\. cuda:1"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cuda", "no CUDA GPU"),
        ("cuda:0", "no CUDA GPU"),
        ("mps", "no Mac"),
        ("tpu", "unknown device 'tpu'"),
        ("xpu", "unknown device 'xpu'"),
        ("meta", "unknown device 'meta'"),
        ("cuda:x", "unknown device"),
        ("", "unknown device"),
        ("cpu:3", "one cpu device only"),
    ],
)
def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    pretend(monkeypatch)
    with pytest.raises(UserError, match=words):
        choose_device(name)


def test_precision_is_that_of_the_products() -> None:
    device = choose_device("cpu")
    a = torch.ones(4, 4, device=device)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        assert Precision.parse(name).dtype == dtype
        with autocast(device, name):
            assert (a @ a).dtype == dtype
    synchronise(device)
    with pytest.raises(UserError, match="float32, bfloat16, float16"):
        autocast(device, "float64")


def test_automatic_precision_is_float32_besides_what_networks_name() -> None:
    assert Precision.chosen("auto") is Precision.FLOAT32 and Precision.chosen("bfloat16") is Precision.BFLOAT16
    with pytest.raises(UserError, match="auto, float32"):
        Precision.chosen("half")


def test_only_a_cpu_that_says_so_computes_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for able in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able}, raising=False)
        assert computes_bfloat16(torch.device("cpu")) is able
        assert not computes_bfloat16(torch.device("cuda")) and not computes_bfloat16(torch.device("mps"))
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert computes_bfloat16(torch.device("cpu"))


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        assert set_threads(1) == torch.get_num_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert set_threads() == 1
        with pytest.raises(UserError, match="threads"):
            set_threads(-1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cpus", "threads", "spare"), [(1, 1, False), (2, 2, False), (2, 1, True), (8, 8, True), (8, 1, True)]
)
def test_a_network_on_two_busy_cpus_bears_no_other_thread(
    monkeypatch: pytest.MonkeyPatch, cpus: int, threads: int, spare: bool
) -> None:
    monkeypatch.setattr(device, "available_cpus", lambda: cpus)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert device.bears_another_thread(torch.device("cpu")) == spare
    assert device.bears_another_thread(torch.device("cuda"))


def test_processes_of_one_torchrun_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert device_of_process("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of_process("auto") == torch.device("cuda", 1)
    assert device_of_process("cuda:0") == torch.device("cuda", 0)
    pretend(monkeypatch)
    assert device_of_process("auto") == torch.device("cpu")


def test_freed_memory_is_used_again() -> None:
    """In a process of its own: the setting is the process's."""
    pytest.importorskip("resource")
    program = """
import resource
import torch
from libs.device import keep_freed_memory
kept = keep_freed_memory()
def faults_of(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(3_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(6):  # a peak that what follows fits into
    torch.ones(20_000_000)
print(kept, faults_of(10))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == "False" or int(faults) < 3000  # 10 times 12 MB are 29,300 pages


@pytest.mark.parametrize(
    ("version", "fits"), [("2.9.1", False), ("2.12.0+cpu", False), ("2.13.0", True), ("3.0", True)]
)
def test_training_needs_a_pytorch_that_has_its_gradients(monkeypatch, version, fits) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    check_training(torch.device("cpu"))
    with contextlib.nullcontext() if fits else pytest.raises(UserError, match="2.13"):
        check_training(torch.device("mps"))
