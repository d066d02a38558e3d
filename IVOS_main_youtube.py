"""YouTube-iVOS: points in the first round, a robot's scribbles after it, over all videos; ends with a table and a page.

python IVOS_main_youtube.py                                                        the bundled sample
python IVOS_main_youtube.py --checkpoint youtube --youtube-root DIR --youtube-points DIR    the published experiment
torchrun --nproc-per-node=4 IVOS_main_youtube.py ...                               the same in four processes
"""

from __future__ import annotations

import sys

from config import YOUTUBE_GROUPS, parse_config
from libs.scripts import exit_status


def evaluate() -> None:
    """Read the settings, play what is not played yet, print the table."""
    config = parse_config(description=__doc__, groups=YOUTUBE_GROUPS)
    # Here, so that --help and a wrong setting answer at once.
    from libs import youtube_evaluation
    from libs.reports.tables import print_table

    record = youtube_evaluation.evaluate(config)
    if record is not None:
        print_table(record, config.results_dir / "youtube" / record.name / "report.html")


def main() -> int:
    """The exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    return exit_status(evaluate, on_interrupt="stopped; the same command goes on from here")


if __name__ == "__main__":
    sys.exit(main())
