"""Where an export goes: a zip file or a folder, with the same names in both."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError


class ZipSink:
    """Files of a zip; the zip appears at its place when everything is in it."""

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, self._temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        except OSError as error:
            raise _told(path, error) from error
        self._file = os.fdopen(handle, "wb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def write(self, name: str, data: bytes | str) -> None:
        """Add a file; `name` has forward slashes."""
        # Pictures and films are compressed already.
        packed = name.endswith((".png", ".mp4", ".jpg"))
        try:
            self._zip.writestr(name, data, zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
        except OSError as error:
            raise _told(self.path, error) from error

    def add(self, name: str, path: Path) -> None:
        """Add a file that exists."""
        try:
            self._zip.write(path, name, zipfile.ZIP_STORED)
        except OSError as error:
            raise _told(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._zip.close()
            self._file.close()
            if kind is None:
                os.chmod(self._temporary, 0o644)
                os.replace(self._temporary, self.path)
        except OSError as fault:
            raise _told(self.path, fault) from fault
        finally:
            if os.path.exists(self._temporary):
                os.unlink(self._temporary)


class FolderSink:
    """Files below a folder that did not exist before."""

    def __init__(self, path: Path):
        if path.exists():
            raise UserError(f"{path} exists already. Move it away, or choose another name.")
        self.path = path

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file; `name` has forward slashes."""
        write_atomic(self.path / name, data)

    def add(self, name: str, path: Path) -> None:
        """Copy a file that exists."""
        try:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, self.path / name)
        except OSError as error:
            raise _told(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)  # half an export is no export


def _told(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}. Free some disk space, or choose another folder.")
