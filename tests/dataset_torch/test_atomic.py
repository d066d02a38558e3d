"""Files are whole or not there."""

import os

import pytest

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

    with pytest.raises(UserError, match="No space left"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        write_atomic(tmp_path / "f" / "g", b"")


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
