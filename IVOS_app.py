"""Annotate a video in the browser, guided: `python IVOS_app.py [VIDEO OR FOLDER OF FRAMES] [options]`.

Without arguments it opens the bundled sample; `--davis SEQUENCE` starts the real-user evaluation.
"""

from __future__ import annotations

import gc
import sys

from config import parse_config
from dataset_torch.errors import UserError


def main(arguments: list[str]) -> int:
    """Start the server; returns the exit status."""
    try:
        config = parse_config(arguments, description=__doc__, positional="video")
        from libs.app.launch import launch  # loads PyTorch, which takes seconds: Ctrl-C must end that, too, in words

        launch(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; everything is saved", file=sys.stderr)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    gc.freeze()  # at its end Python would look through all of PyTorch for what is unused: seconds on a busy machine
    sys.exit(status)
