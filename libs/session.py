"""The state of one video being segmented: typed, apart from the network, saved and restored exactly."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dataset_torch.atomic import write_atomic
from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs.feature_cache import FeatureCache
from libs.geometry import Geometry
from libs.guidance import INTERACTIVE, PUBLISHED, GuidanceOptions, recommend
from libs.interactions import MAX_OBJECT_ID, FrameAnnotation, whole_number
from libs.session_state import MemoryRecord, Round, SessionState, state_from_json, state_to_json
from libs.storage import Prediction
from networks.interface import MemoryEntry

SESSION_VERSION = 1


class Session:
    """One video, its annotations, and what is predicted so far.  Made by `Segmenter.open` or `Segmenter.load`.

    Frames are numbered from 0, object ids are 1..254, channel `c` of a probability map is the object
    `object_ids[c - 1]`, channel 0 the background.  Reading never runs the network.
    """

    def __init__(
        self,
        frames: FrameSource,
        geometry: Geometry,
        *,
        features: FeatureCache,
        output_interpolation: Literal["bilinear", "nearest"] = "bilinear",
        guidance: GuidanceOptions = PUBLISHED,
        lift_annotated: bool = False,
        network_id: str = "",
    ):
        self.frames = frames
        self.geometry = geometry
        self.state = SessionState()
        self.features = features
        self.output_interpolation = output_interpolation
        self.guidance = guidance
        self.lift_annotated = lift_annotated
        self.network_id = network_id
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """The video's fingerprint, read once (it decodes the first and last frame)."""
        if self._fingerprint is None:
            self._fingerprint = self.frames.fingerprint()
        return self._fingerprint

    # ---- objects -------------------------------------------------------------------------------------------------

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The ids of the objects, in the order of the channels."""
        return self.state.object_ids

    def add_object(self, object_id: int) -> None:
        """Add an object at any time; it is absent (probability 0) wherever something is predicted already."""
        object_id = whole_number(object_id, "an object id")
        if not 1 <= object_id <= MAX_OBJECT_ID:
            raise UserError(
                f"object id {object_id} is not possible: ids are 1 to {MAX_OBJECT_ID} (0 is the background)."
            )
        if object_id in self.object_ids:
            raise UserError(f"object {object_id} exists already.")
        self.state.object_ids = (*self.object_ids, object_id)

    def remove_object(self, object_id: int) -> None:
        """Remove an object; its pixels become background, and the memory forgets it.

        Its strokes still say of the others that they are not there, until an object of the same id is added, which
        starts from nothing.
        """
        if object_id not in self.object_ids:
            raise UserError(f"there is no object {object_id}; the objects are {list(self.object_ids)}.")
        keep = tuple(i for i in self.object_ids if i != object_id)
        state = self.state
        state.object_ids = keep
        state.removed[object_id] = len(state.rounds)
        memory = []
        for record in state.memory:
            rows = [row for row, i in enumerate(record.object_ids) if i in keep]
            if rows:
                ids = tuple(record.object_ids[row] for row in rows)
                memory.append(MemoryRecord(record.frame, ids, record.entry.select_objects(rows)))
        state.memory = memory
        # No prediction knows the id any more, should it be added again.
        for table in (state.predictions, state.base_predictions):
            for frame, prediction in table.items():
                if object_id in prediction.object_ids:
                    table[frame] = prediction.without(object_id)

    # ---- reading -------------------------------------------------------------------------------------------------

    @property
    def rounds(self) -> list[Round]:
        """Every round so far, empty ones included."""
        return list(self.state.rounds)

    @property
    def annotated_frames(self) -> list[int]:
        """Annotated frames in the order of annotation; a frame annotated twice is there twice."""
        return [r.annotation.frame for r in self.state.rounds if not r.empty]

    def given(self, frame: int) -> list[FrameAnnotation]:
        """All that was given on a frame, in order of rounds; without the strokes of objects that were removed, where
        another object has the id now."""
        found = []
        for r in self.state.rounds:
            if r.annotation.frame == frame:
                gone = {i for i in self.object_ids if r.number <= self.state.removed.get(i, 0)}
                found.append(r.annotation.without(gone) if gone else r.annotation)
        return found

    @property
    def scores(self) -> np.ndarray:
        """R-score of every frame, float64 [F], in (0, 1); nan where none has been computed."""
        scores = np.full(len(self.frames), np.nan)
        for frame, score in tuple(self.state.scores.items()):  # copied: a run in another thread may add to it
            scores[frame] = score
        if self.lift_annotated and self.annotated_frames:
            # The frames beside it have their masks from it, and read other annotated frames besides, as it did not.
            annotated = self.annotated_frames
            beside = np.pad(scores, 1, constant_values=np.nan)  # of frame f: f and f + 2
            neighbours = np.stack([beside[:-2], beside[2:], scores])[:, annotated]
            scores[annotated] = np.fmax.reduce(neighbours)
        return scores

    def padded_probabilities(self, frame: int) -> Tensor | None:
        """(1 + O) x H x W float32 at the network's size; `None` if the frame has no prediction."""
        self.frames.check_index(frame)
        prediction = self.state.predictions.get(frame)
        return None if prediction is None else prediction.unpack(self.object_ids)

    def probabilities(self, frame: int) -> np.ndarray:
        """float32 (1 + O) x H x W at the video's own size; all background where nothing is predicted yet."""
        padded = self.padded_probabilities(frame)
        if padded is None:
            out = np.zeros((1 + len(self.object_ids), self.geometry.height, self.geometry.width), np.float32)
            out[0] = 1
            return out
        return self.geometry.to_original(padded, method=self.output_interpolation).numpy()

    def mask(self, frame: int) -> np.ndarray:
        """uint8 H x W of object ids at the video's own size: the most probable id of every pixel."""
        if not self.is_predicted(frame):
            return np.zeros((self.geometry.height, self.geometry.width), np.uint8)
        ids = np.array([0, *self.object_ids], np.uint8)
        return ids[self.probabilities(frame).argmax(axis=0)]

    def is_predicted(self, frame: int) -> bool:
        """Whether anything is predicted for this frame yet."""
        self.frames.check_index(frame)
        return frame in self.state.predictions

    def masks(self) -> np.ndarray:
        """uint8 F x H x W of object ids, all frames."""
        masks = np.empty((len(self.frames), self.geometry.height, self.geometry.width), np.uint8)
        for frame in range(len(self.frames)):
            masks[frame] = self.mask(frame)
        return masks

    def working_mask(self, frame: int) -> np.ndarray | None:
        """uint8 h x w of ids at the working size, which the interaction planes are drawn at; `None` if unpredicted."""
        padded = self.padded_probabilities(frame)
        if padded is None:
            return None
        return np.array([0, *self.object_ids], np.uint8)[self.geometry.crop(padded).argmax(dim=0).numpy()]

    def recommend(
        self, policy: str, *, count: int | None = None, options: GuidanceOptions | None = None
    ) -> list[int] | None:
        """The frames to look at next, best first (see `libs.guidance`); `None` for `wo_RS`.

        Without `options`: the segmenter's rule for RS1 and RS4 (`SegmenterOptions.guidance`); with a `count`, at most
        so many, and frames that were annotated already only where there is no other, which is what a person wants.
        """
        options = options or (self.guidance if count is None else INTERACTIVE)
        # Also frames where there was nothing to correct: their scores stay, so they would be proposed for ever.
        looked_at = {r.annotation.frame for r in self.state.rounds}
        return recommend(policy, self.scores, count=count, options=options, annotated_frames=looked_at)

    # ---- undo ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> SessionState:
        """The state as it is now, at the cost of a few pointers a frame."""
        return self.state.copy()

    def restore(self, snapshot: SessionState) -> None:
        """Go back to (or forward to) a snapshot, exactly."""
        self.state = snapshot.copy()

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the session to one file, atomically; `Segmenter.load` goes on from it as if nothing had happened."""
        state = self.state
        table: dict[int, int] = {}  # id() of a prediction -> its number, so that shared ones are written once
        packed: list[Prediction] = []
        for prediction in (*state.predictions.values(), *state.base_predictions.values()):
            if id(prediction) not in table:
                table[id(prediction)] = len(packed)
                packed.append(prediction)
        header = {
            "version": SESSION_VERSION,
            "network": self.network_id,
            "video": {"name": self.frames.name, "frames": len(self.frames), "fingerprint": self.fingerprint},
            "geometry": asdict(self.geometry),
            **state_to_json(state),
            "memory": [{"frame": m.frame, "object_ids": list(m.object_ids)} for m in state.memory],
            "predictions": {f: table[id(p)] for f, p in state.predictions.items()},
            "base_predictions": {f: table[id(p)] for f, p in state.base_predictions.items()},
            "packed": [{"object_ids": list(p.object_ids), "size": list(p.size), "format": p.format} for p in packed],
        }
        content = {
            "header": json.dumps(header),
            "packed": [torch.frombuffer(bytearray(p.data), dtype=torch.uint8) for p in packed],
            "masks": {
                i: torch.from_numpy(r.annotation.mask.copy())  # PyTorch takes no array that is read-only
                for i, r in enumerate(state.rounds)
                if r.annotation.mask is not None
            },
            # Cloned, for an entry may be a view of a batch of frames, and the whole batch would be written.
            "memory": [{name: t.detach().cpu().clone() for name, t in m.entry.tensors().items()} for m in state.memory],
        }
        return write_atomic(path, lambda file: torch.save(content, file))

    def read(self, path: str | Path, memory_class: type[MemoryEntry], device: torch.device) -> None:
        """Fill this (new) session from a file that `save` wrote.  Raises `UserError` if it is not for this video."""
        header, content = _read_file(Path(path))
        if header["network"] != self.network_id:
            raise UserError(
                f"{path} was made with the network {header['network'] or 'without a name'}, this is "
                f"{self.network_id or 'without a name'}: their memories cannot be mixed. Load the same checkpoint."
            )
        if header["video"]["fingerprint"] != self.fingerprint:
            raise UserError(
                f"{path} belongs to the video {header['video']['name']} ({header['video']['frames']} frames), not to "
                f"{self.frames.name} ({len(self.frames)} frames). Open the session with the video that it was made for."
            )
        if header["geometry"] != asdict(self.geometry):
            raise UserError(f"{path} was made at another working size. Use the options that it was made with.")
        packed = [
            Prediction(tuple(p["object_ids"]), tuple(p["size"]), p["format"], data.numpy().tobytes())
            for p, data in zip(header["packed"], content["packed"], strict=True)
        ]
        self.state = SessionState(
            **state_from_json(header, [_array(content["masks"].get(i)) for i in range(len(header["rounds"]))]),
            memory=[
                MemoryRecord(
                    m["frame"], tuple(m["object_ids"]), memory_class(**{k: t.to(device) for k, t in e.items()})
                )
                for m, e in zip(header["memory"], content["memory"], strict=True)
            ],
            predictions={int(f): packed[i] for f, i in header["predictions"].items()},
            base_predictions={int(f): packed[i] for f, i in header["base_predictions"].items()},
        )


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"session file {path} does not exist.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        header = json.loads(content["header"])
        version = header["version"]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a session file, or is damaged ({str(error).splitlines()[0][:120]}).") from error
    except Exception as error:  # pickle errors of the safe loader, which refuses code
        if type(error).__name__ != "UnpicklingError":
            raise
        raise UserError(f"{path} is not a session file, or is damaged.") from error
    if version != SESSION_VERSION:
        raise UserError(f"{path} has session format {version}, this program reads {SESSION_VERSION}.")
    return header, content


def _array(mask: Tensor | None) -> np.ndarray | None:
    return None if mask is None else mask.numpy()


def rows_of(record: MemoryRecord, object_ids: Sequence[int]) -> MemoryEntry:
    """The record's entry with exactly these objects in this order (all must be in it)."""
    if tuple(object_ids) == record.object_ids:
        return record.entry
    return record.entry.select_objects([record.object_ids.index(i) for i in object_ids])
