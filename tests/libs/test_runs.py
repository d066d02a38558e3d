"""Folders of runs: what is damaged or cannot be deleted is no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from dataset_torch.errors import UserError
from libs.runs import Clock, RunFolder, Shard, describe_network


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


def open_run(results: Path, settings: dict, device: str, *, name: str | None = "run") -> Path:
    machinery = {"device": device, "compile": False}
    return RunFolder.open(
        results, "davis", settings=settings, name=name, label="x", resume=True, machinery=machinery
    ).path


def test_other_settings_are_told_by_their_options_with_both_values(tmp_path: Path) -> None:
    protocol = {"memory_limit": 3, "guidance": {"reach": 0.0}, "training": False}
    open_run(tmp_path, {"variants": ["J-RS4"], "segmenter": protocol, "checkpoint": "a" * 64, "data": "/x"}, "cpu")
    other = {**protocol, "memory_limit": 1, "guidance": {"reach": 0.1}, "training": True}
    with pytest.raises(UserError) as caught:
        open_run(tmp_path, {"variants": ["J-wo_RS"], "segmenter": other, "checkpoint": "b" * 64, "data": "/y"}, "cpu")
    for part in (
        "--guidance: there RS4, now wo_RS",
        "--memory-limit: there 3, now 1",
        "--guidance-rule: there reach 0.0, now reach 0.1",
        "training: there false, now true",
        "--checkpoint: there aaaaaaaa, now bbbbbbbb",
        "--davis-root: there /x, now /y",
    ):
        assert part in str(caught.value), str(caught.value)
    assert "--metric" not in str(caught.value)


def test_a_run_is_of_one_kind_of_device_and_an_older_one_goes_on(tmp_path: Path) -> None:
    path = open_run(tmp_path, {"a": 1}, "cpu")
    with pytest.raises(UserError, match=r"\(--device: there cpu, now cuda\)"):
        open_run(tmp_path, {"a": 1}, "cuda")
    (path / "settings.json").write_text(json.dumps({"a": 1}))  # as earlier versions wrote it
    assert open_run(tmp_path, {"a": 1}, "cuda") == path
    # Without a name each kind has a folder of its own, and finds it again.
    first, second = (open_run(tmp_path, {"a": 1}, kind, name=None) for kind in ("cpu", "cuda"))
    assert first != second
    assert [open_run(tmp_path, {"a": 1}, kind, name=None) for kind in ("cpu", "cuda")] == [first, second]


def test_a_network_that_is_brought_is_told_by_its_own_numbers() -> None:
    from libs.baselines.grabcut_flow import GrabCutFlow

    network, other = GrabCutFlow(), GrabCutFlow()
    told = describe_network(network)
    assert (told.name, told.architecture) == ("grabcut-flow", "grabcut-flow") and len(told.sha256) == 64
    assert describe_network(other) == told
    with torch.no_grad():
        other.none.add_(1e-3)
    assert describe_network(other).sha256 != told.sha256
    other.weights_id = "f" * 64  # it came from a file
    assert describe_network(other).sha256 == "f" * 64
