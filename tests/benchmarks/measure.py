"""Clocks for the parts of a network, peak memory, and what the figures were taken on."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

# Modules whose time is shown, by architecture, and methods, which count to their module; the rest of `propagate` and
# of the segmenter is `other`.
PARTS = {
    "resnet50": ("frame_encoder", "attention", "attention.read", "local_propagation", "fusion", "head"),
    "compact": (
        "encoder",
        "propagation.global_transfer",
        "propagation.global_transfer.read",
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
        """Within the block, every call of these modules is timed under the last part of its name.

        The name of a method (`attention.read`) is timed under that of its module.
        """
        handles, starts, wrapped = [], {}, []
        for name in names:
            owner, _, label = name.rpartition(".")
            parent = network.get_submodule(owner)
            module = getattr(parent, label)
            if not isinstance(module, nn.Module):
                parent.__dict__[label] = self._timed(module, owner.rpartition(".")[2])
                wrapped.append((parent, label))
                continue

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
            for parent, label in wrapped:
                del parent.__dict__[label]

    def _timed(self, method: Callable[..., object], label: str) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            with self.part(label):
                return method(*arguments)

        return call


@dataclass(frozen=True)
class Timing:
    """What a piece of work took: seconds on the clock, processor time of all own threads, and of everything else."""

    wall: float
    processor: float
    others: float = 0.0  # processor time of all other programs meanwhile

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall + other.wall, self.processor + other.processor, self.others + other.others)

    def per(self, count: int) -> Timing:
        """Per frame."""
        return Timing(self.wall / count, self.processor / count, self.others / count)

    @staticmethod
    def median(timings: Sequence[Timing]) -> Timing:
        """The median of each of the three."""
        return Timing(
            statistics.median(t.wall for t in timings),
            statistics.median(t.processor for t in timings),
            statistics.median(t.others for t in timings),
        )


class Stopwatch:
    """`with Stopwatch() as watch: ...`, then `watch.timing`."""

    timing: Timing

    def start(self) -> Stopwatch:
        """Begin; for measurements that are no block."""
        self._busy = machine_seconds()
        self._wall, self._processor = time.perf_counter(), time.process_time()
        return self

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.timing = self.so_far()

    def so_far(self) -> Timing:
        """What it took until now."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return Timing(wall, processor, max(0.0, machine_seconds() - self._busy - processor))

    def others_share(self) -> float:
        """The share of the machine's processor time that other programs have taken until now, in [0, 1]."""
        timing = self.so_far()
        return min(1.0, timing.others / (timing.wall * (os.cpu_count() or 1)))


def machine_seconds() -> float:
    """Processor time that the whole machine has spent on anything, in steps of 10 ms; 0 where no /proc/stat says so."""
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    except OSError:
        return 0.0
    user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


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
