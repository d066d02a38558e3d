"""TensorBoard, if it is installed; a run never needs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Board:
    """Writes scalars for TensorBoard into a folder; does nothing where the package `tensorboard` is missing."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder))

    @property
    def is_there(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Add the scalars of one step."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
