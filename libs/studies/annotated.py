"""`python -m libs.studies.annotated --davis-root FOLDER`: what better annotated frames would be worth.

The rounds of the other studies with the truly worst frames, once with the robot's strokes and once with the true mask
of every annotated frame in their place; J&F of every round, and after the last one by the distance in frames from the
nearest annotated frame.  The second line is what the propagation makes of perfect annotated frames.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from libs.scripts import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""

    def measure() -> None:
        # Here, so that Ctrl-C ends in words while PyTorch is loaded, too.
        from libs.studies.distances import run

        run(argv, description=__doc__)

    return exit_status(measure)


if __name__ == "__main__":
    sys.exit(main())
