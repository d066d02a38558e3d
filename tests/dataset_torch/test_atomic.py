"""Files are whole or not there."""

import os

import pytest
import torch

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError


def test_writes_text_bytes_and_functions(tmp_path):
    for content, expected in (("é", "é".encode()), (b"ab", b"ab"), (lambda f: f.write(b"xyz"), b"xyz")):
        assert write_atomic(tmp_path / "a" / "b", content).read_bytes() == expected
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    path = write_atomic(tmp_path / "f", b"old")

    def fail(file):
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device. Free some disk space"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_the_new_file_is_on_disk_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "f", b"old")
    done = []

    def refused(source, target):
        done.append("replace")
        assert path.read_bytes() == b"old"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(UserError, match="Input/output"):
        write_atomic(path, b"new")
    assert done == ["fsync", "replace"]
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    for path in (tmp_path / "f" / "g", tmp_path / "f" / "g" / "h"):
        with pytest.raises(UserError, match="cannot write .*A file is where a folder must be: choose another"):
            write_atomic(path, b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="Permission"):
            write_atomic(tmp_path / "f", b"")
    finally:
        tmp_path.chmod(0o700)


def test_files_can_be_read_by_others(tmp_path):
    old = os.umask(0o022)
    try:
        assert write_atomic(tmp_path / "f", b"").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(old)


def test_a_full_disk_under_torch_is_said_in_words(tmp_path):
    path = write_atomic(tmp_path / "f", b"old")

    class Full:
        """Has room for 1000 bytes."""

        written = 0

        def write(self, data):
            self.written += len(data)
            if self.written > 1000:
                raise OSError(28, "No space left on device")
            return len(data)

        def flush(self):
            pass

    def fill(file):
        torch.save({"weights": torch.zeros(1000)}, Full())

    with pytest.raises(UserError, match="No space left on device. Free some disk space"):
        write_atomic(path, fill)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_errors_of_the_program_stay_what_they_are(tmp_path):
    def fail(file):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write_atomic(tmp_path / "f", fail)
