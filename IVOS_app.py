"""Annotate a video in the browser, guided: `python IVOS_app.py [VIDEO OR FOLDER OF FRAMES] [options]`.

Without arguments it opens the bundled sample; `--davis SEQUENCE` starts the real-user evaluation.
"""

from __future__ import annotations

import sys

from config import parse_config
from dataset_torch.errors import UserError
from libs.app.launch import launch


def main(arguments: list[str]) -> int:
    """Start the server; returns the exit status."""
    if arguments and not arguments[0].startswith("-"):  # the video may be named without --video
        arguments = ["--video", *arguments]
    try:
        launch(parse_config(arguments, description=__doc__))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; everything is saved", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
