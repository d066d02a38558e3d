"""How every entry script ends: in words and an exit status, never in a traceback for what the user can mend."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from dataset_torch.errors import UserError

USER_ERROR, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def exit_status(work: Callable[[], object], *, on_interrupt: str = "stopped") -> int:
    """Do a script's work; 0, or 2 after a `UserError` (its message goes to standard error), or 130 after Ctrl-C."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:  # whoever read the output has seen enough: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at the end
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print(f"\n{on_interrupt}", file=sys.stderr)
        return INTERRUPTED
    return 0
