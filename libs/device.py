"""The one place that chooses device, precision and thread count."""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext
from enum import Enum

import torch

from dataset_torch.errors import UserError


class Precision(str, Enum):
    """Number format of the network's products; weights, softmax and probabilities stay in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @classmethod
    def parse(cls, text: str | Precision | torch.dtype) -> Precision:
        """The precision of that name, or that PyTorch names so; `UserError` if there is none."""
        try:
            return cls(str(text).removeprefix("torch.") if isinstance(text, torch.dtype) else text)
        except ValueError:
            names = ", ".join(p.value for p in cls)
            raise UserError(f"unknown precision {text!r}; choose one of auto, {names}.") from None

    @classmethod
    def chosen(cls, text: str) -> Precision:
        """As `parse`; `auto` is float32, besides which networks may name parts for `computes_bfloat16`."""
        return cls.FLOAT32 if text == "auto" else cls.parse(text)

    @property
    def dtype(self) -> torch.dtype:
        """The format as PyTorch names it."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[self.value]


def choose_device(name: str = "auto") -> torch.device:
    """`auto` (CUDA, else Apple's MPS, else CPU), `cpu`, `cuda`, `cuda:1`, `mps`, ... as a device that is there.

    Raises `UserError` for a name that is none of these, and for a device that this machine, or this build of PyTorch,
    does not have.
    """
    name = name.strip().lower()
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if _mps_available() else "cpu"
        return torch.device(found)
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N (N counts GPUs from 0) or mps.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UserError(
                f"device {name!r} was asked for, but PyTorch {torch.__version__} sees no CUDA GPU here. Use --device "
                "cpu, or install a CUDA build of PyTorch and a driver (https://pytorch.org/get-started/locally)."
            )
        if (device.index or 0) >= count:
            raise UserError(f"device {name!r} was asked for, but there are {count} GPUs: cuda:0 .. cuda:{count - 1}.")
    if device.type == "mps" and not _mps_available():
        raise UserError("device 'mps' was asked for, but this is no Mac with an Apple GPU. Use --device cpu or auto.")
    if device.type in ("cpu", "mps") and device.index:
        raise UserError(f"device {name!r} was asked for, but there is one {device.type} device only: {device.type}.")
    return device


def device_of_process(name: str = "auto") -> torch.device:
    """As `choose_device`, but the processes of one `torchrun` take a GPU each, in turn, unless the name says which."""
    device = choose_device(name)
    rank = os.environ.get("LOCAL_RANK", "")
    if device.type == "cuda" and device.index is None and rank.isdigit():
        return torch.device("cuda", int(rank) % torch.cuda.device_count())
    return device


def check_training(device: torch.device) -> None:
    """Raise `UserError` where this PyTorch lacks gradients that training needs (`grid_sample` on MPS before 2.13)."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if device.type == "mps" and version < (2, 13):
        raise UserError(
            f"training on Apple's GPU needs PyTorch 2.13, this is {torch.__version__}; or use --device cpu."
        )


def keep_float32_exact(device: torch.device) -> None:
    """Have convolutions on CUDA take float32 as it is; by default they round it to 10 bits (TF32), which is faster and
    changes R-scores and borders."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def exact_device(name: str = "auto") -> torch.device:
    """As `choose_device`, for figures that others shall get as well: `keep_float32_exact` there."""
    device = choose_device(name)
    keep_float32_exact(device)
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Whether this is a CPU with instructions for products in bfloat16 (others only imitate them, slowly)."""
    if device.type != "cpu":
        return False
    try:
        return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    except AttributeError:  # an older PyTorch
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def autocast(device: torch.device, precision: str | Precision | torch.dtype) -> AbstractContextManager[object]:
    """The context in which a network computes in this precision on this device; nothing at all for float32.

    On a CPU bfloat16 pays if the CPU has instructions for it; float16 works but is far slower than float32.
    """
    precision = Precision.parse(precision)
    if precision is Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(device_type=device.type, dtype=precision.dtype)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done its work; for honest timing.  Nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def bears_another_thread(device: torch.device) -> bool:
    """Whether work beside the network's, such as reading frames ahead, costs the network nothing.

    Not on one or two CPUs that it keeps busy itself: there it waits for the thread that got no core.  On two, reading
    ahead makes a frame of 240x432 cost 3 % more, one of 1080x1920 a tenth.
    """
    return device.type != "cpu" or available_cpus() > min(2, torch.get_num_threads())


def set_threads(count: int = 0) -> int:
    """Set PyTorch's CPU threads and return how many there are now.

    0 means: as `OMP_NUM_THREADS` says if it is set, else one per CPU that this process may use (a container or
    `taskset` may allow fewer than the machine has).
    """
    if count < 0:
        raise UserError(f"threads must be 0 (automatic) or more, not {count}.")
    if count == 0 and not os.environ.get("OMP_NUM_THREADS"):
        count = available_cpus()
    if count:
        torch.set_num_threads(count)
    return torch.get_num_threads()


# Parameters of glibc's `mallopt` (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next request; returns whether it does (glibc, so most Linux).

    By default glibc asks the system for every large tensor and gives it back at once, and each page of it is mapped and
    zeroed again at its first use: 20 000 to 100 000 page faults a frame of 480 x 854, which in a virtual machine cost
    up to a third of the time.  The process then holds on to its peak, up to 2 GB of it unused, until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library (macOS, musl, Windows)
        return False
    settings = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_MMAP_MAX, 0))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def _mps_available() -> bool:
    return torch.backends.mps.is_available()
