"""Everything between the scripts and the networks."""

import os

# Before PyTorch is loaded, or it has no effect: OpenMP's threads spin for some ten microseconds while they wait for
# each other, then sleep.  By default they spin for milliseconds, and with one core taken by another program spinning
# threads keep the working ones from running: many times slower.  Sleeping at once (all that OpenMP libraries other
# than GNU's can be told) costs some time on an idle machine, for threads wake each other thousands of times a frame.
# Seconds per frame of the published network at 480 x 854, one object, two cores, first round / later rounds:
# idle 1.97 / 0.94 with a short spin, 2.17 / 1.07 without any; one core taken 5.2 / 2.3 and 4.3 / 2.05.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
