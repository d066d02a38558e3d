"""Clocks for the parts of a network, peak memory, and what the figures were taken on."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

# Modules whose time is shown, by architecture; the rest of `propagate` and of the segmenter is `other`.
PARTS = {
    "resnet50": ("frame_encoder", "attention", "local_propagation", "fusion", "head"),
    "compact": (
        "encoder",
        "propagation.global_transfer",
        "propagation.local_transfer",
        "propagation.trunk",
        "propagation.decoder",
        "propagation.quality",
    ),
}


class PartClock:
    """Seconds by name; `part` times a block, `watch` every call of some modules."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to the part."""
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started

    @contextlib.contextmanager
    def watch(self, network: nn.Module, names: tuple[str, ...]) -> Iterator[None]:
        """Within the block, every call of these modules is timed under the last part of its name."""
        handles, starts = [], {}
        for name in names:
            module, label = network.get_submodule(name), name.rpartition(".")[2]

            def begin(*_: object, label: str = label) -> None:
                starts[label] = time.perf_counter()

            def end(*_: object, label: str = label) -> None:
                self.seconds[label] += time.perf_counter() - starts[label]

            handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@dataclass(frozen=True)
class Timing:
    """What a piece of work took: seconds on the clock, and seconds of processor time of all threads."""

    wall: float
    processor: float

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall + other.wall, self.processor + other.processor)

    def per(self, count: int) -> Timing:
        """Per frame."""
        return Timing(self.wall / count, self.processor / count)


class Stopwatch:
    """`with Stopwatch() as watch: ...`, then `watch.timing`."""

    timing: Timing

    def __enter__(self) -> Stopwatch:
        self._wall, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.timing = Timing(time.perf_counter() - self._wall, time.process_time() - self._processor)


def resident_bytes() -> int:
    """Memory of this process in use now; 0 where the system does not say (no /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _give_back() -> None:
    """Let glibc return freed memory to the system, so that what follows is not served from it unseen."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class PeakMemory:
    """Highest memory of the process within a `with` block, beyond what was in use before, sampled every 5 ms."""

    def __enter__(self) -> PeakMemory:
        gc.collect()
        _give_back()
        self.before = self.highest = resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.005):
            self.highest = max(self.highest, resident_bytes())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.highest = max(self.highest, resident_bytes())

    @property
    def megabytes(self) -> float:
        """The growth in MB (10^6 bytes)."""
        return (self.highest - self.before) / 1e6


def machine() -> dict[str, str | int | float]:
    """Processor, cores, threads, versions, and how busy the machine is with other work right now."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
    }
