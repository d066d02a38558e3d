"""What a session knows besides its video, and how that is written as plain data: session files and the app's workspace
write it alike, and keep masks, memory and predictions each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from libs.interactions import Click, FrameAnnotation, Scribble
from libs.storage import Prediction
from networks.interface import MemoryEntry


@dataclass(frozen=True)
class Round:
    """One turn: what was given, on which frame.  An empty round changed nothing and left no memory."""

    number: int  # from 1
    annotation: FrameAnnotation
    object_ids: tuple[int, ...]  # the session's objects at that time
    empty: bool = False


@dataclass(frozen=True)
class MemoryRecord:
    """One annotated frame in memory; `entry` has its objects in the order of `object_ids`."""

    frame: int
    object_ids: tuple[int, ...]
    entry: MemoryEntry


@dataclass
class SessionState:
    """Everything that undo must bring back.  All values inside the containers are immutable."""

    object_ids: tuple[int, ...] = ()
    rounds: list[Round] = field(default_factory=list)
    memory: list[MemoryRecord] = field(default_factory=list)
    predictions: dict[int, Prediction] = field(default_factory=dict)
    base_predictions: dict[int, Prediction] = field(default_factory=dict)  # as they were before the latest round
    scores: dict[int, float] = field(default_factory=dict)
    opinions: int = 0  # how often the latest annotated frame was judged again by what its surroundings make of it
    removed: dict[int, int] = field(default_factory=dict)  # object id -> how many rounds there were when it went

    def copy(self) -> SessionState:
        """A shallow copy: costs a few pointers a frame, and neither side sees the other's changes."""
        return SessionState(
            self.object_ids,
            list(self.rounds),
            list(self.memory),
            dict(self.predictions),
            dict(self.base_predictions),
            dict(self.scores),
            self.opinions,
            dict(self.removed),
        )


def state_to_json(state: SessionState) -> dict[str, Any]:
    """Objects, rounds (without masks), scores, opinions and removed ids as plain data for JSON."""
    return {
        "object_ids": list(state.object_ids),
        "rounds": [round_to_json(r) for r in state.rounds],
        "scores": {frame: score.hex() for frame, score in state.scores.items()},
        "opinions": state.opinions,
        "removed": state.removed,
    }


def state_from_json(data: dict[str, Any], masks: Sequence[np.ndarray | None]) -> dict[str, Any]:
    """What `state_to_json` wrote, as arguments for `SessionState`; `masks` has one for every round."""
    return {
        "object_ids": tuple(data["object_ids"]),
        "rounds": [round_from_json(r, mask) for r, mask in zip(data["rounds"], masks, strict=True)],
        "scores": {int(frame): float.fromhex(score) for frame, score in data["scores"].items()},
        "opinions": data.get("opinions", 0),  # files of earlier versions lack this and the next
        "removed": {int(i): count for i, count in data.get("removed", {}).items()},
    }


def round_to_json(r: Round) -> dict[str, Any]:
    """A round without its mask, which is kept apart, as plain data for JSON."""
    return {
        "number": r.number,
        "frame": r.annotation.frame,
        "object_ids": list(r.object_ids),
        "empty": r.empty,
        "scribbles": [{"object_id": s.object_id, "points": s.points.tolist()} for s in r.annotation.scribbles],
        "clicks": [asdict(c) for c in r.annotation.clicks],
    }


def round_from_json(data: dict[str, Any], mask: np.ndarray | None) -> Round:
    """What `round_to_json` wrote, with its mask (uint8 H x W of ids) if it has one."""
    annotation = FrameAnnotation(
        data["frame"],
        tuple(Scribble(s["object_id"], np.array(s["points"])) for s in data["scribbles"]),
        tuple(Click(**c) for c in data["clicks"]),
        mask,
    )
    return Round(data["number"], annotation, tuple(data["object_ids"]), data["empty"])
