"""Predictions on disk: a session of ten thousand frames needs the memory of a cache, not of ten thousand masks."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dataset_torch.errors import UserError
from libs.geometry import Geometry
from libs.storage import FORGOTTEN, Prediction

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blob (id INTEGER PRIMARY KEY, format TEXT NOT NULL, height INTEGER NOT NULL,
    width INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS step (id INTEGER PRIMARY KEY, label TEXT NOT NULL, frame INTEGER, objects TEXT NOT NULL,
    marks TEXT NOT NULL, state INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS running (frame INTEGER PRIMARY KEY, blob INTEGER NOT NULL, ids TEXT NOT NULL,
    score TEXT NOT NULL);
"""


class Database:
    """One SQLite file: whole transactions survive a kill, and a second program on the same file is refused."""

    def __init__(self, path: Path):
        self.path = path
        self.lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(str(path), timeout=1.0, isolation_level=None, check_same_thread=False)
            # Exclusive before WAL: no shared-memory file, so that network file systems work too.
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            with self.transaction():
                for statement in SCHEMA.split(";"):
                    self.connection.execute(statement)
        except OSError as error:
            raise UserError(
                f"the workspace {path.parent} cannot be made: {error.strerror}. Choose another place with --workspace."
            ) from error
        except sqlite3.Error as error:
            raise _told(error, path) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is executed inside."""
        with self.lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self.connection
                except BaseException:
                    self.connection.execute("ROLLBACK")
                    raise
                self.connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise _told(error, self.path) from error

    def rows(self, query: str, parameters: tuple = ()) -> list[tuple]:
        """All rows of a query."""
        with self.lock:
            try:
                return self.connection.execute(query, parameters).fetchall()
            except sqlite3.Error as error:
                raise _told(error, self.path) from error

    def close(self) -> None:
        """Write everything out and let go of the file."""
        with self.lock:
            self.connection.close()


def _told(error: sqlite3.Error, path: Path) -> UserError:
    text = str(error)
    if "locked" in text:
        return UserError(
            "this video is already open in another GIS window (or terminal): its workspace is "
            f"{path.parent}. Close that one, or choose another --workspace."
        )
    if "not a database" in text or "malformed" in text:
        return UserError(f"{path} is damaged ({text}). Move it away, or choose another --workspace.")
    return UserError(f"the workspace {path.parent} cannot be written: {text}. Free some disk space; nothing was lost.")


class BlobStore:
    """Bytes by number in the database, the latest used ones in memory within a budget."""

    def __init__(self, database: Database, geometry: Geometry, *, cache_bytes: int):
        self.database, self.geometry, self.cache_bytes = database, geometry, cache_bytes
        self.cached_bytes = 0
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, format: str, size: tuple[int, int], data: bytes) -> int:
        """Store bytes; returns their number.  Call inside a transaction."""
        cursor = self.database.connection.execute(
            "INSERT INTO blob (format, height, width, data) VALUES (?, ?, ?, ?)", (format, *size, data)
        )
        key = int(cursor.lastrowid)
        self._remember(key, data)
        return key

    def get(self, key: int) -> bytes:
        """The bytes of this number."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        found = self.database.rows("SELECT data FROM blob WHERE id = ?", (key,))
        if not found:
            raise UserError(f"{self.database.path} lacks the data of entry {key}; the file was changed from outside.")
        self._remember(key, found[0][0])
        return found[0][0]

    def _remember(self, key: int, data: bytes) -> None:
        with self._lock:
            self.cached_bytes += len(data) - len(self._cache.pop(key, b""))
            self._cache[key] = data
            while self.cached_bytes > self.cache_bytes and len(self._cache) > 1:
                self.cached_bytes -= len(self._cache.popitem(last=False)[1])

    def put_prediction(self, prediction: Prediction) -> StoredPrediction:
        """The same prediction with its bytes on disk.  Call inside a transaction."""
        if isinstance(prediction, StoredPrediction):
            return prediction
        key = self.put(prediction.format, prediction.size, prediction.data)
        return StoredPrediction(self, key, prediction.object_ids, prediction.size, prediction.format)

    def put_mask(self, mask: np.ndarray, object_ids: tuple[int, ...]) -> StoredPrediction:
        """An imported mask, uint8 H x W of ids at the video's own size, kept to the pixel."""
        key = self.put("ids", mask.shape, zlib.compress(np.ascontiguousarray(mask).tobytes(), 6))
        return StoredPrediction(self, key, object_ids, mask.shape, "ids")


class StoredPrediction(Prediction):
    """A `Prediction` whose bytes are on disk; or, with the format `ids`, an imported mask at the video's own size."""

    def __init__(self, store: BlobStore, key: int, object_ids: tuple[int, ...], size: tuple[int, int], format: str):
        values = {"store": store, "key": key, "object_ids": tuple(object_ids), "size": tuple(size), "format": format}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The packed bytes, read from disk unless cached."""
        return self.store.get(self.key)

    def without(self, object_id: int) -> StoredPrediction:
        """The same bytes with one object forgotten."""
        ids = tuple(FORGOTTEN if i == object_id else i for i in self.object_ids)
        return StoredPrediction(self.store, self.key, ids, self.size, self.format)

    def imported_mask(self, object_ids: tuple[int, ...]) -> np.ndarray | None:
        """uint8 H x W of ids as imported (forgotten objects are background), `None` if this is no imported mask."""
        if self.format != "ids":
            return None
        mask = np.frombuffer(zlib.decompress(self.data), np.uint8).reshape(self.size)
        kept = [i for i in self.object_ids if i in object_ids]
        return np.where(np.isin(mask, kept), mask, np.uint8(0))

    def unpack(self, object_ids: tuple[int, ...] | None = None) -> Tensor:
        """(1 + O) x H x W float32 at the network's size; see `Prediction.unpack`."""
        if self.format != "ids":
            return super().unpack(object_ids)
        ids = self.object_ids if object_ids is None else object_ids
        geometry = self.store.geometry
        mask = geometry.resize_mask(self.imported_mask(ids))
        planes = np.stack([mask == i for i in (0, *ids)]).astype(np.float32)
        return torch.from_numpy(geometry.pad(planes))

    # The generated ones would compare the bytes, that is, read them.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredPrediction) and (self.key, self.object_ids) == (other.key, other.object_ids)

    def __hash__(self) -> int:
        return hash((self.key, self.object_ids))

    def __repr__(self) -> str:
        return f"StoredPrediction(key={self.key}, object_ids={self.object_ids}, format={self.format!r})"
