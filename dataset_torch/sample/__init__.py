"""The bundled sample data: eight short sequences with exact masks, rendered by `render.py` (`make sample`).

`SAMPLE_DAVIS` is in DAVIS-2017 layout, `SAMPLE_YOUTUBE` in YouTube-VOS 2019 layout.  Sources and licences: CREDITS.md.
"""

from pathlib import Path

SAMPLE_DAVIS = Path(__file__).parent / "DAVIS"
SAMPLE_YOUTUBE = Path(__file__).parent / "YouTube"

__all__ = ["SAMPLE_DAVIS", "SAMPLE_YOUTUBE"]
