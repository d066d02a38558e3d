"""`python -m libs.studies.steps --davis-root FOLDER --out steps.csv`: what the propagation keeps of a true mask.

A frame is given its true mask, and nothing else is known.  J (mean over objects) of that frame passed through the
network once, of the frames after it, and of what the network decides among on the next one; beside them the mask as it
was ("copied"), and moved by DIS optical flow.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from libs.scripts import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""

    def measure() -> None:
        # Here, so that Ctrl-C ends in words while PyTorch is loaded, too.
        from libs.studies.carried import run

        run(argv, description=__doc__)

    return exit_status(measure)


if __name__ == "__main__":
    sys.exit(main())
