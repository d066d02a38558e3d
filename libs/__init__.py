"""Everything between the scripts and the networks."""

import os

# Before PyTorch is loaded, or it has no effect: OpenMP's threads spin for some ten microseconds while they wait for
# each other, then sleep.  By default they spin for milliseconds: with one core taken by another program, two such
# threads were measured to be thirty times slower than one.  Sleeping at once (all that OpenMP libraries other than
# GNU's can be told) costs a tenth of the time on an idle machine: threads wake each other thousands of times a frame.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
