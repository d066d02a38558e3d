"""`python -m tests.benchmarks`: speed and memory, as JSON and a Markdown page in results/bench_here.

The folder results/bench, which is part of the repository, was made with `--out results/bench`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from libs.scripts import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""

    def measure() -> None:
        # Here, so that Ctrl-C ends in words while PyTorch is loaded, too.
        from tests.benchmarks.sections import run

        run(argv, description=__doc__)

    return exit_status(measure, on_interrupt="stopped; what was measured so far is in the file")


if __name__ == "__main__":
    sys.exit(main())
