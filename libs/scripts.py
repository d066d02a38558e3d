"""How every entry script ends: in words and an exit status, never in a traceback for what the user can mend."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from dataset_torch.errors import UserError

USER_ERROR, INTERRUPTED = 2, 130


def exit_status(work: Callable[[], object], *, on_interrupt: str = "stopped") -> int:
    """Do a script's work; 0, or 2 after a `UserError` (its message goes to standard error), or 130 after Ctrl-C."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"\n{on_interrupt}", file=sys.stderr)
        return INTERRUPTED
    return 0
