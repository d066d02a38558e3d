"""`python -m tests.libs.app.serve ARGUMENTS`: the app with the stand-in network, for tests that need a real server.

`GIS_TEST_DELAY` is the number of seconds that every propagated frame takes longer.
"""

from __future__ import annotations

import os
import sys
import time

import torch

import IVOS_app
from libs.app import launch
from libs.segmenter import Segmenter
from tests.libs.app.stand_in import ColourNetwork


class SlowNetwork(ColourNetwork):
    """Takes its time, so that a test can cancel or kill in the middle."""

    delay = 0.0

    def propagate(self, *arguments):
        time.sleep(self.delay)
        return super().propagate(*arguments)


if __name__ == "__main__":
    SlowNetwork.delay = float(os.environ.pop("GIS_TEST_DELAY", "0"))
    torch.set_num_threads(1)
    launch.load_segmenter = lambda config, *, benchmark: Segmenter(SlowNetwork(), device="cpu")
    sys.exit(IVOS_app.main(sys.argv[1:]))
