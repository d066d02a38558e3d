"""The folder of a run: one run's alone, and usable before work begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_torch.errors import UserError
from libs.training.folder import FILES, claim
from libs.training.interruption import Interruption

ROOT = Path(__file__).resolve().parents[3]


def test_a_folder_that_cannot_be_one_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="Choose another --out"):
            claim(folder)


def test_a_full_disk_is_noticed_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        claim(tmp_path)
    monkeypatch.undo()
    claim(tmp_path).close()  # the lock did not stay


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / f".{name}.ab12cd34.tmp").write_bytes(b"half")
    (tmp_path / "state.pth").write_bytes(b"whole")
    (tmp_path / ".mine.tmp").write_bytes(b"not ours")
    claim(tmp_path).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".mine.tmp", "state.pth"]


HOLD = """
import sys
from pathlib import Path
from libs.training.folder import claim
lock = claim(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_two_runs_do_not_share_a_folder_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another run is at work"):
            claim(tmp_path)
        other.kill()
    claim(tmp_path).close()


def test_the_first_interruption_is_noted_and_the_second_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert not interruption.came
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.came and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before and "Ctrl-C again" in capfd.readouterr().err
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.came
