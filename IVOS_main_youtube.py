"""YouTube-iVOS: points in the first round, a robot's scribbles after it, over all videos; ends with a table and a page.

python IVOS_main_youtube.py                                                        the bundled sample
python IVOS_main_youtube.py --checkpoint youtube --youtube-root DIR --youtube-points DIR    the published experiment
torchrun --nproc-per-node=4 IVOS_main_youtube.py ...                               the same in four processes
"""

from __future__ import annotations

import sys

from config import parse_config
from dataset_torch.errors import UserError


def main() -> int:
    """Evaluate; the exit status is 0, or 2 for what the user can mend."""
    try:
        config = parse_config(description=__doc__)
        # Here, so that --help and a wrong setting answer at once.
        from libs.reports.tables import print_table
        from libs.youtube_evaluation import evaluate

        record = evaluate(config)
        if record is not None:
            print_table(record, config.results_dir / "youtube" / record.name / "report.html")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
