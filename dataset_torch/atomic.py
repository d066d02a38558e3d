"""Files that are either whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from dataset_torch.errors import UserError


def write_atomic(path: str | Path, content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Write `content` to `path` so that a reader, or a killed run, never sees half of it.

    `content` is bytes, text (UTF-8), or a function that writes to the open binary file.  Parent folders are made.
    Costs one fsync, so keep it out of per-frame loops.  Raises `UserError` when the disk is full or the folder is not
    writable; an earlier file at `path` is then untouched.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False) as file:
            temporary = file.name
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # NamedTemporaryFile makes files that only their owner can read
        os.replace(temporary, path)
        temporary = None
    except (OSError, RuntimeError) as error:
        cause = _system_error(error)
        if cause is None:
            raise
        raise UserError(f"cannot write {path}: {cause.strerror or cause}. {remedy(cause)}") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def check_writable(folder: Path) -> None:
    """Make the folder and write to it, before hours of work find that they cannot.  Raises `UserError`."""
    write_atomic(folder / ".check", b"may be written to").unlink()


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Delete what writers of these files left half done because they were killed.

    Only for a folder that nobody else writes to now.
    """
    for name in names:
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def remedy(error: OSError) -> str:
    """What the user can do about a file or folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some disk space, or choose another folder."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "A file is where a folder must be: choose another folder."
    return "Choose a folder that you may write to."


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error behind one: `torch.save` says RuntimeError on a full disk, on top of what the file said."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
