"""The folder of a run: made and checked before any work is done, and one run's alone."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from dataset_torch.atomic import check_writable, remove_leftovers
from dataset_torch.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
FILES = ("state.pth", "best.pth", "last.pth", "log.csv")


def claim(folder: Path) -> BinaryIO:
    """Make the folder, see that it can be written to, and keep other runs out of it until the result is closed.

    The lock is the system's own, so it ends with the process, however that ends.  What a killed run left half written
    is removed.

    Raises:
        UserError: the folder cannot be made or written to, or another run is at work in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("ab")
    except OSError as error:
        raise UserError(
            f"the run's folder {folder} cannot be made or written to: {error.strerror or error}. Choose another --out."
        ) from error
    try:
        if not _lock(lock):
            raise UserError(f"another run is at work in {folder}. Wait for its end, stop it, or choose another --out.")
        check_writable(folder)
        remove_leftovers(folder, FILES)
    except UserError:
        lock.close()
        raise
    return lock


def _lock(file: BinaryIO) -> bool:
    """Whether the file is ours now; where the system or the file system has no locks, nobody is kept out."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
