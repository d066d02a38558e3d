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
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataset_torch.errors import UserError
from libs.app.blobs import BlobStore, Database, StoredPrediction
from libs.app.history import Step, marks_from_json, marks_to_json
from libs.app.objects import ObjectTable
from libs.session import MemoryRecord, Session, SessionState, round_from_json, round_to_json
from libs.storage import Prediction
from networks.interface import MemoryEntry

VERSION = 1
DATABASE = "session.db"


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
        self._entry_keys: dict[int, tuple[MemoryEntry, int]] = {}  # by id(); the entry is held, so the id stays its own
        self._mask_keys: dict[int, tuple[np.ndarray, int]] = {}

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

    def record(self, step: Step, *, shares_state: bool, dropped_front: int = 0, dropped_end: int = 0) -> None:
        """Write one step as the present one; with it, what was propagated for it stops being unfinished.

        `shares_state`: its session state is that of the step before it.  `dropped_front`, `dropped_end`: how many
        steps `History.push` dropped at either end.
        """
        kept = self._rows[: len(self._rows) - dropped_end]
        dropped = self._rows[len(kept) :] + kept[:dropped_front]
        with self.database.transaction() as connection:
            connection.executemany("DELETE FROM step WHERE id = ?", [(row,) for row, _ in dropped])
            if shares_state:
                state_id = kept[-1][1]
            else:
                data = zlib.compress(json.dumps(self._state_to_json(step.session)).encode(), 1)
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

    def set_position(self, position: int) -> None:
        """Remember where in the history the session is (undo, redo)."""
        with self.database.transaction():
            self._write_position(position, self._rows)

    def update_objects(self, position: int, objects: ObjectTable) -> None:
        """Overwrite the present step's table of objects (a change of display, which is no step of its own)."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE step SET objects = ? WHERE id = ?", (json.dumps(objects.to_json()), self._rows[position][0])
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
        rows = self.database.rows("SELECT id, label, frame, objects, marks, state FROM step ORDER BY id")
        if not rows:
            return [], -1, None
        sizes = {
            key: (format, (height, width))
            for key, format, height, width in self.database.rows("SELECT id, format, height, width FROM blob")
        }
        reader = _StateReader(self, sizes, memory_class, device)
        states: dict[int, SessionState] = {}
        steps: list[Step] = []
        for _, label, frame, objects, marks, state_id in rows:
            if state_id not in states:
                [(data,)] = self.database.rows("SELECT data FROM state WHERE id = ?", (state_id,))
                states[state_id] = reader.state(json.loads(zlib.decompress(data)))
            table = ObjectTable.from_json(json.loads(objects))
            steps.append(Step(label, frame, table, marks_from_json(json.loads(marks)), states[state_id]))
        self._rows = [(row[0], row[5]) for row in rows]
        [(present,)] = self.database.rows("SELECT value FROM meta WHERE key = 'position'")
        position = [row for row, _ in self._rows].index(json.loads(present))
        running = self.database.rows("SELECT frame, blob, ids, score FROM running")
        unfinished = None
        if running:
            unfinished = Unfinished(
                {frame: reader.prediction(key, json.loads(ids)) for frame, key, ids, _ in running},
                {frame: float.fromhex(score) for frame, _, _, score in running},
            )
        self._collect_garbage(reader.used | {row[1] for row in running}, set(states))
        return steps, position, unfinished

    def _collect_garbage(self, used: set[int], states: set[int]) -> None:
        """Delete what no step refers to any more (redo branches that were given up, steps beyond the limit)."""
        with self.database.transaction() as connection:
            for table, kept in (("blob", used), ("state", states)):
                present = {row[0] for row in connection.execute(f"SELECT id FROM {table}")}
                connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(i,) for i in present - kept])

    # ---- the session's state as plain data -----------------------------------------------------------------------

    def _state_to_json(self, state: SessionState) -> dict[str, Any]:
        variants: dict[tuple[int, ...], int] = {}

        def table(predictions: dict[int, Prediction]) -> list[list[int]]:
            rows = []
            for frame, prediction in predictions.items():
                stored = self.blobs.put_prediction(prediction)
                rows.append([frame, stored.key, variants.setdefault(stored.object_ids, len(variants))])
            return rows

        predictions, base = table(state.predictions), table(state.base_predictions)
        return {
            "object_ids": list(state.object_ids),
            "rounds": [{**round_to_json(r), "mask": self._mask_key(r.annotation.mask)} for r in state.rounds],
            "memory": [[m.frame, list(m.object_ids), self._entry_key(m.entry)] for m in state.memory],
            "predictions": predictions,
            "base_predictions": base,
            "variants": [list(ids) for ids in variants],
            "scores": {frame: score.hex() for frame, score in state.scores.items()},
        }

    def _mask_key(self, mask: np.ndarray | None) -> int | None:
        if mask is None:
            return None
        if id(mask) not in self._mask_keys:
            self._mask_keys[id(mask)] = (mask, self.blobs.put_mask(mask, ()).key)
        return self._mask_keys[id(mask)][1]

    def _entry_key(self, entry: MemoryEntry) -> int:
        if id(entry) not in self._entry_keys:
            file = io.BytesIO()
            torch.save({name: t.detach().cpu().clone() for name, t in entry.tensors().items()}, file)
            self._entry_keys[id(entry)] = (entry, self.blobs.put("memory", (0, 0), file.getvalue()))
        return self._entry_keys[id(entry)][1]


class _StateReader:
    """Turns plain data back into session states; memory entries and masks that states share are made once."""

    def __init__(
        self,
        workspace: Workspace,
        sizes: dict[int, tuple[str, tuple[int, int]]],
        memory_class: type[MemoryEntry],
        device: torch.device,
    ):
        self.workspace, self.sizes, self.memory_class, self.device = workspace, sizes, memory_class, device
        self.used: set[int] = set()
        self._entries: dict[int, MemoryEntry] = {}
        self._masks: dict[int, np.ndarray] = {}

    def prediction(self, key: int, object_ids: list[int]) -> StoredPrediction:
        self.used.add(key)
        format, size = self.sizes[key]
        return StoredPrediction(self.workspace.blobs, key, tuple(object_ids), size, format)

    def state(self, data: dict[str, Any]) -> SessionState:
        variants = data["variants"]
        return SessionState(
            object_ids=tuple(data["object_ids"]),
            rounds=[round_from_json(r, self._mask(r["mask"])) for r in data["rounds"]],
            memory=[MemoryRecord(frame, tuple(ids), self._entry(key)) for frame, ids, key in data["memory"]],
            predictions={f: self.prediction(key, variants[v]) for f, key, v in data["predictions"]},
            base_predictions={f: self.prediction(key, variants[v]) for f, key, v in data["base_predictions"]},
            scores={int(f): float.fromhex(s) for f, s in data["scores"].items()},
        )

    def _entry(self, key: int) -> MemoryEntry:
        self.used.add(key)
        if key not in self._entries:
            content = torch.load(io.BytesIO(self.workspace.blobs.get(key)), map_location="cpu", weights_only=True)
            entry = self.memory_class(**{name: tensor.to(self.device) for name, tensor in content.items()})
            self._entries[key] = entry
            self.workspace._entry_keys[id(entry)] = (entry, key)
        return self._entries[key]

    def _mask(self, key: int | None) -> np.ndarray | None:
        if key is None:
            return None
        self.used.add(key)
        if key not in self._masks:
            raw = np.frombuffer(zlib.decompress(self.workspace.blobs.get(key)), np.uint8)
            mask = raw.reshape(self.sizes[key][1]).copy()
            self._masks[key] = mask
            self.workspace._mask_keys[id(mask)] = (mask, key)
        return self._masks[key]
