"""Training sets by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataset_torch.clip import Clip
from dataset_torch.errors import UserError
from dataset_torch.synthetic.shards import ClipShards


def open_training_data(specifications: Sequence[str]) -> ClipShards:
    """Open the training set."""
    return ClipShards(Path(specifications[0].removeprefix("clips:")))
