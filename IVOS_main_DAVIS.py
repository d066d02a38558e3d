"""The DAVIS interactive evaluation: a robot scribbles, the network segments; ends with a table and a page.

python IVOS_main_DAVIS.py                                                 the bundled sample, the shipped network
python IVOS_main_DAVIS.py --checkpoint davis --davis-root /data/DAVIS     the published experiment
torchrun --nproc-per-node=4 IVOS_main_DAVIS.py ...                        the same in four processes
"""

from __future__ import annotations

import sys

from config import DAVIS_GROUPS, parse_config
from libs.scripts import exit_status


def evaluate() -> None:
    """Read the settings, play what is not played yet, print the table."""
    config = parse_config(description=__doc__, groups=DAVIS_GROUPS)
    # Here, so that --help and a wrong setting answer at once.
    from libs import davis_evaluation
    from libs.reports.tables import print_table

    record = davis_evaluation.evaluate(config)
    if record is not None:
        print_table(record, config.results_dir / "davis" / record.name / "report.html")


def main() -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    return exit_status(evaluate, on_interrupt="stopped; the same command goes on from here")


if __name__ == "__main__":
    sys.exit(main())
