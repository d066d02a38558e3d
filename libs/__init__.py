"""Everything between the scripts and the networks."""

import os

from libs.openmp import choose_waiting

choose_waiting(os.environ)  # before PyTorch is loaded, or it has no effect
