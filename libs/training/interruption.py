"""Ctrl-C and SIGTERM: a run ends after its present step, with everything saved."""

from __future__ import annotations

import os
import signal
from types import FrameType

NOTICE = b"\nstopping after this step, then saving and validating; Ctrl-C again ends it at once\n"


class Interruption:
    """Notes the signals between `with` and its end; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.came = False
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.write(2, NOTICE)  # print is not safe where another print may be interrupted
