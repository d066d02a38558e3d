"""`python -m libs.studies --davis-root FOLDER --out results/studies`: play the studies and write their page."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from libs.scripts import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""

    def play() -> None:
        # Here, so that Ctrl-C ends in words while PyTorch is loaded, too.
        from libs.studies.command import run

        run(sys.argv[1:] if argv is None else argv)

    return exit_status(play, on_interrupt="stopped; the same command goes on from here")


if __name__ == "__main__":
    sys.exit(main())
