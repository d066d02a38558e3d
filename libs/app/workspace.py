"""The workspace: a folder that holds everything of one session, written as things happen.

`session.db` (SQLite) has the history step by step and every frame of a running propagation; each command is one
transaction, so whatever moment the program is killed at, everything up to the last finished command is there, and the
frames that a propagation had reached.  `thumbnails/` and `exports/` hold what can be made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from dataset_torch.errors import UserError
from libs.app.blobs import BlobStore, Database, StoredPrediction
from libs.app.history import Step, marks_from_json, marks_to_json
from libs.app.objects import ObjectTable
from libs.session import MemoryRecord, Session, SessionState
from libs.session_state import state_from_json, state_to_json
from libs.storage import Prediction
from networks.interface import MemoryEntry

VERSION = 2
DATABASE = "session.db"
RECENT = 4  # session states held in memory, so that undo and redo of the latest steps need not read them


@dataclass(frozen=True)
class Unfinished:
    """What a propagation had reached when the program was killed."""

    predictions: dict[int, StoredPrediction]
    scores: dict[int, float]


def check_usable(folder: Path) -> None:
    """Raise `UserError` where a workspace could not be kept in this folder; leaves nothing behind."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"the workspace {folder} cannot be written: {error.strerror or error}. Choose another place with "
            "--workspace."
        ) from error
    finally:
        for path in missing:  # the innermost first
            with contextlib.suppress(OSError):
                path.rmdir()
    if (folder / DATABASE).exists():
        Database(folder / DATABASE).close()


Value = TypeVar("Value")


class Workspace:
    """One session's folder.  Raises `UserError` when it belongs to another video, network or working size."""

    def __init__(self, folder: str | Path, session: Session, *, cache_bytes: int):
        self.folder = Path(folder)
        self.database = Database(self.folder / DATABASE)
        try:
            self._check_identity(session)
        except UserError:
            self.database.close()
            raise
        self.blobs = BlobStore(self.database, session.geometry, cache_bytes=cache_bytes)
        self._rows: list[tuple[int, int]] = []  # step id, state id of every step in the history
        self._entries: Numbered[MemoryEntry] = Numbered()  # states share them
        self._masks: Numbered[np.ndarray] = Numbered()
        self._recent: OrderedDict[int, SessionState] = OrderedDict()  # by state id, the latest used last

    def _check_identity(self, session: Session) -> None:
        own = {
            "version": VERSION,
            "network": session.network_id,
            "video": session.fingerprint,
            "video_name": session.frames.name,
            "geometry": asdict(session.geometry),
        }
        found = {key: json.loads(value) for key, value in self.database.rows("SELECT key, value FROM meta")}
        if not found:
            with self.database.transaction() as connection:
                connection.executemany(
                    "INSERT INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in own.items()]
                )
            return
        remedy = "Choose another --workspace, or move this one away to begin anew."
        if found["version"] != VERSION:
            raise UserError(f"{self.folder} has format {found['version']}, this program reads {VERSION}. {remedy}")
        if found["video"] != own["video"]:
            raise UserError(
                f"the workspace {self.folder} belongs to the video {found['video_name']}, not to {own['video_name']}: "
                f"their first or last frames, sizes or lengths differ. {remedy}"
            )
        if found["network"] != own["network"]:
            raise UserError(
                f"the workspace {self.folder} was made with the network {found['network']}, this is {own['network']}; "
                f"their memories cannot be mixed. Give the same --checkpoint. {remedy}"
            )
        if found["geometry"] != own["geometry"]:
            raise UserError(f"{self.folder} was made at another working size. Give the same --short-side. {remedy}")

    # ---- writing -------------------------------------------------------------------------------------------------

    def record(self, step: Step, state: SessionState | None, *, dropped_front: int = 0, dropped_end: int = 0) -> None:
        """Write one step as the present one; with it, what was propagated for it stops being unfinished.

        `state` is the session after it, not to be changed any more; `None`: the same as after the step before.
        `dropped_front`, `dropped_end`: how many steps `History.push` dropped at either end.
        """
        kept = self._rows[: len(self._rows) - dropped_end]
        dropped = self._rows[len(kept) :] + kept[:dropped_front]
        with self._known_if_written(), self.database.transaction() as connection:
            connection.executemany("DELETE FROM step WHERE id = ?", [(row,) for row, _ in dropped])
            if state is None:
                state_id = kept[-1][1]
            else:
                data = zlib.compress(json.dumps(self._state_to_json(state)).encode(), 1)
                state_id = connection.execute("INSERT INTO state (data) VALUES (?)", (data,)).lastrowid
            step_id = connection.execute(
                "INSERT INTO step (id, label, frame, objects, marks, state) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    kept[-1][0] + 1 if kept else 1,
                    step.label,
                    step.frame,
                    json.dumps(step.objects.to_json()),
                    json.dumps(marks_to_json(step.marks)),
                    state_id,
                ),
            ).lastrowid
            connection.execute("DELETE FROM running")
            rows = [*kept[dropped_front:], (step_id, state_id)]
            self._write_position(len(rows) - 1, rows)
        self._rows = rows
        if state is not None:
            self._remember(state_id, state)

    def set_position(self, position: int) -> None:
        """Remember where in the history the session is (undo, redo)."""
        with self.database.transaction():
            self._write_position(position, self._rows)

    def update_objects(self, tables: dict[int, ObjectTable]) -> None:
        """Overwrite the table of objects of these positions (a change of display, which is no step of its own)."""
        with self.database.transaction() as connection:
            connection.executemany(
                "UPDATE step SET objects = ? WHERE id = ?",
                [(json.dumps(table.to_json()), self._rows[position][0]) for position, table in tables.items()],
            )

    def record_frame(self, frame: int, prediction: Prediction, score: float) -> StoredPrediction:
        """Write one frame of a running propagation; the returned prediction replaces the one in memory."""
        with self.database.transaction() as connection:
            stored = self.blobs.put_prediction(prediction)
            connection.execute(
                "INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?)",
                (frame, stored.key, json.dumps(stored.object_ids), score.hex()),
            )
        return stored

    def store_prediction(self, prediction: Prediction) -> StoredPrediction:
        """Put a prediction's bytes on disk; they count once a step refers to them."""
        with self.database.transaction():
            return self.blobs.put_prediction(prediction)

    def store_mask(self, mask: np.ndarray, object_ids: tuple[int, ...]) -> StoredPrediction:
        """Keep an imported mask exactly, as the prediction of a frame."""
        with self.database.transaction():
            return self.blobs.put_mask(mask, object_ids)

    def close(self) -> None:
        """Let go of the folder."""
        self.database.close()

    def _write_position(self, position: int, rows: list[tuple[int, int]]) -> None:
        self.database.connection.execute(
            "INSERT OR REPLACE INTO meta VALUES ('position', ?)", (json.dumps(rows[position][0]),)
        )

    # ---- reading -------------------------------------------------------------------------------------------------

    def load(self, memory_class: type[MemoryEntry], device: torch.device) -> tuple[list[Step], int, Unfinished | None]:
        """The history, the position in it, and what a killed propagation left; no steps in a new workspace."""
        self._memory_class, self._device = memory_class, device
        rows = self.database.rows("SELECT id, label, frame, objects, marks, state FROM step ORDER BY id")
        if not rows:
            return [], -1, None
        steps = [
            Step(label, frame, ObjectTable.from_json(json.loads(objects)), marks_from_json(json.loads(marks)))
            for _, label, frame, objects, marks, _ in rows
        ]
        self._rows = [(row[0], row[5]) for row in rows]
        [(present,)] = self.database.rows("SELECT value FROM meta WHERE key = 'position'")
        position = [row for row, _ in self._rows].index(json.loads(present))
        running = self.database.rows(
            "SELECT frame, blob, ids, score, format, height, width FROM running JOIN blob ON blob.id = running.blob"
        )
        unfinished = None
        if running:
            unfinished = Unfinished(
                {
                    frame: StoredPrediction(self.blobs, key, tuple(json.loads(ids)), (height, width), format)
                    for frame, key, ids, _, format, height, width in running
                },
                {row[0]: float.fromhex(row[3]) for row in running},
            )
        self._collect_garbage({row[1] for row in running})
        return steps, position, unfinished

    def state(self, position: int) -> SessionState:
        """The session's state after a step of the history, not to be changed in place."""
        state_id = self._rows[position][1]
        if state_id not in self._recent:
            self._remember(state_id, self._state_from_json(self._read_state(state_id)))
        self._recent.move_to_end(state_id)
        return self._recent[state_id]

    def _remember(self, state_id: int, state: SessionState) -> None:
        self._recent[state_id] = state
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def _read_state(self, state_id: int) -> dict[str, Any]:
        found = self.database.rows("SELECT data FROM state WHERE id = ?", (state_id,))
        if not found:
            raise UserError(f"{self.database.path} lacks state {state_id}; the file was changed from outside.")
        return json.loads(zlib.decompress(found[0][0]))

    def _collect_garbage(self, used: set[int]) -> None:
        """Delete what no step refers to any more (redo branches that were given up, steps beyond the limit)."""
        states = {state_id for _, state_id in self._rows}
        for state_id in states:  # one after the other: together they may be large
            data = self._read_state(state_id)
            used |= {key for name in ("predictions", "base_predictions") for _, key, _ in data[name]}
            used |= {key for _, _, key in data["memory"]} | {r["mask"] for r in data["rounds"]}
        with self.database.transaction() as connection:
            for table, kept in (("blob", used), ("state", states)):
                present = {row[0] for row in connection.execute(f"SELECT id FROM {table}")}
                connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(i,) for i in present - kept])

    # ---- the session's state as plain data -----------------------------------------------------------------------

    def _state_to_json(self, state: SessionState) -> dict[str, Any]:
        variants: dict[tuple, int] = {}  # object ids, format and size, which most frames have in common

        def table(predictions: dict[int, Prediction]) -> list[list[int]]:
            rows = []
            for frame, prediction in predictions.items():
                stored = self.blobs.put_prediction(prediction)
                variant = (stored.object_ids, stored.format, stored.size)
                rows.append([frame, stored.key, variants.setdefault(variant, len(variants))])
            return rows

        predictions, base = table(state.predictions), table(state.base_predictions)
        plain = state_to_json(state)
        for written, r in zip(plain["rounds"], state.rounds, strict=True):
            written["mask"] = self._mask_key(r.annotation.mask)
        return {
            **plain,
            "memory": [[m.frame, list(m.object_ids), self._entry_key(m.entry)] for m in state.memory],
            "predictions": predictions,
            "base_predictions": base,
            "variants": list(variants),
        }

    def _state_from_json(self, data: dict[str, Any]) -> SessionState:
        variants = [(tuple(ids), tuple(size), format) for ids, format, size in data["variants"]]

        def table(rows: list[list[int]]) -> dict[int, Prediction]:
            return {frame: StoredPrediction(self.blobs, key, *variants[v]) for frame, key, v in rows}

        return SessionState(
            **state_from_json(data, [self._mask(r["mask"]) for r in data["rounds"]]),
            memory=[MemoryRecord(frame, tuple(ids), self._entry(key)) for frame, ids, key in data["memory"]],
            predictions=table(data["predictions"]),
            base_predictions=table(data["base_predictions"]),
        )

    # Memory entries and masks are shared by states and known by their identity, so each is made once.

    @contextlib.contextmanager
    def _known_if_written(self) -> Iterator[None]:
        """What is put on disk inside counts as being there only if nothing fails: SQLite gives the numbers of what it
        took back to what comes next."""
        before = [table.keys() for table in (self._entries, self._masks)]
        try:
            yield
        except BaseException:
            for table, known in zip((self._entries, self._masks), before):
                table.forget(table.keys() - known)
            raise

    def _mask_key(self, mask: np.ndarray | None) -> int | None:
        if mask is None:
            return None
        key = self._masks.key_of(mask)
        if key is None:
            key = self.blobs.put_mask(mask, ()).key
            self._masks.add(mask, key)
        return key

    def _mask(self, key: int | None) -> np.ndarray | None:
        if key is None:
            return None
        mask = self._masks.get(key)
        if mask is None:
            [(height, width)] = self.database.rows("SELECT height, width FROM blob WHERE id = ?", (key,))
            mask = np.frombuffer(zlib.decompress(self.blobs.get(key)), np.uint8).reshape(height, width).copy()
            self._masks.add(mask, key)
        return mask

    def _entry_key(self, entry: MemoryEntry) -> int:
        key = self._entries.key_of(entry)
        if key is None:
            file = io.BytesIO()
            torch.save({name: t.detach().cpu().clone() for name, t in entry.tensors().items()}, file)
            key = self.blobs.put("memory", (0, 0), file.getvalue())
            self._entries.add(entry, key)
        return key

    def _entry(self, key: int) -> MemoryEntry:
        entry = self._entries.get(key)
        if entry is None:
            content = torch.load(io.BytesIO(self.blobs.get(key)), map_location="cpu", weights_only=True)
            entry = self._memory_class(**{name: tensor.to(self._device) for name, tensor in content.items()})
            self._entries.add(entry, key)
        return entry


class Numbered(Generic[Value]):
    """Objects and the numbers of their bytes on disk.  Holds none of them: an entry of the memory may be on the GPU."""

    def __init__(self) -> None:
        self._of_key: dict[int, weakref.ref[Value]] = {}
        self._key_of: dict[int, tuple[weakref.ref[Value], int]] = {}  # by id(), which another object may get later

    def key_of(self, value: Value) -> int | None:
        """Its number, if it has one."""
        known, key = self._key_of.get(id(value), (lambda: None, 0))
        return key if known() is value else None

    def get(self, key: int) -> Value | None:
        """The object of this number, if there is one and somebody holds it."""
        known = self._of_key.get(key)
        return None if known is None else known()

    def add(self, value: Value, key: int) -> None:
        """From now on this object has this number."""
        place = id(value)

        def gone(reference: weakref.ref[Value]) -> None:
            if self._of_key.get(key) is reference:
                del self._of_key[key]
            if self._key_of.get(place, (None,))[0] is reference:
                del self._key_of[place]

        reference = weakref.ref(value, gone)
        self._of_key[key], self._key_of[place] = reference, (reference, key)

    def keys(self) -> set[int]:
        """All numbers that are known."""
        return set(self._of_key.copy())

    def forget(self, keys: Iterable[int]) -> None:
        """These numbers are nobody's."""
        for key in keys:
            value = self.get(key)
            self._of_key.pop(key, None)
            if value is not None:
                self._key_of.pop(id(value), None)
