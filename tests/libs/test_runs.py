"""Folders of runs: what is damaged or cannot be deleted is no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataset_torch.errors import UserError
from libs.runs import Clock, RunFolder, Shard


def test_a_damaged_clock_starts_anew(tmp_path: Path) -> None:
    path, alone = tmp_path / "clock.json", Shard(0, 1)
    path.write_text('{"started": "2026-01-01T00:00:00", "seconds": 100.0}')
    assert Clock(path, alone).seconds >= 100
    path.write_text('{"started": "20')
    assert Clock(path, alone).seconds < 100
    assert Clock(path, alone).started  # and what it wrote can be read


def test_a_folder_that_cannot_be_deleted_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"settings": {"a": 1}, "name": "run", "label": ""}
    RunFolder.open(tmp_path, "davis", **arguments, resume=True)

    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(UserError, match="cannot be deleted.*Read-only"):
        RunFolder.open(tmp_path, "davis", **arguments, resume=False)
