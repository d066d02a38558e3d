"""The DAVIS interactive evaluation: a robot scribbles, the network segments; ends with a table and a page.

python IVOS_main_DAVIS.py                                                 the bundled sample, the shipped network
python IVOS_main_DAVIS.py --checkpoint davis --davis-root /data/DAVIS     the published experiment
torchrun --nproc-per-node=4 IVOS_main_DAVIS.py ...                        the same in four processes
"""

from __future__ import annotations

import logging
import sys

from config import parse_config
from dataset_torch.errors import UserError


def main() -> int:
    """Evaluate; the exit status is 0, or 2 for what the user can mend."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        config = parse_config(description=__doc__)
        # Here, so that --help and a wrong setting answer at once.
        from libs.davis_evaluation import evaluate
        from libs.reports.tables import print_table

        record = evaluate(config)
        if record is not None:
            print_table(record, config.results_dir / "davis" / record.name / "report.html")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
