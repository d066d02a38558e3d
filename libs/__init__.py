"""Everything between the scripts and the networks."""

import os

# Before PyTorch is loaded, or it has no effect: OpenMP's threads then sleep while they wait for each other instead of
# spinning.  On an idle machine that costs a few percent; with one core taken by another program, two spinning threads
# were measured to be a hundred times slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
