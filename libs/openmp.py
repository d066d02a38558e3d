"""How OpenMP's threads wait for each other.  PyTorch reads it when it is loaded, so this must run before."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from pathlib import Path

RUNNABLE = Path("/proc/loadavg")  # its fourth field: tasks that run or want to, this one included, of all there are
LONG_SPIN, SHORT_SPIN = 20_000, 3_000  # looks at what a thread waits for before it sleeps; 3,000 take some 10 us
LOOKS, SECONDS_BETWEEN = 3, 0.005


def choose_waiting(environment: MutableMapping[str, str]) -> None:
    """Let OpenMP's threads spin for a short time before they sleep, longer on an idle machine.

    They wait for each other thousands of times a frame, and waking one that sleeps takes longer than many of the
    layers do.  But with one core taken by another program, threads that spin keep the working ones from running; by
    default they do so for milliseconds.  OpenMP libraries other than GNU's can be told only to sleep at once, so they
    are.  Frames per second of the compact network at 240 x 432, one object, first round, two cores:

        spins            3,000   20,000   60,000   300,000 (the default)
        idle                17       19       21        20
        one core taken     8.8      4.0      2.3       0.8

    What the user has set stays.
    """
    if "OMP_WAIT_POLICY" in environment:
        return
    if "GOMP_SPINCOUNT" not in environment:
        environment["GOMP_SPINCOUNT"] = str(LONG_SPIN if machine_is_idle() else SHORT_SPIN)
    environment["OMP_WAIT_POLICY"] = "PASSIVE"


def machine_is_idle() -> bool:
    """Whether nothing but this process wants a CPU; `False` where the system does not tell."""
    try:
        for look in range(LOOKS):
            if look:
                time.sleep(SECONDS_BETWEEN)
            # A program that computes is there at every look, what wakes for a moment is not.
            if int(RUNNABLE.read_text().split()[3].split("/")[0]) <= 1:
                return True
    except (OSError, ValueError, IndexError):
        pass
    return False
