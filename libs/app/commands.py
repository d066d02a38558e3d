"""The commands that the page can send, by name, with their arguments checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dataset_torch.errors import UserError
from libs.app.controller import Controller, RunOptions
from libs.app.marks import MAX_POINTS, mark_from_json

Payload = dict[str, Any]


def integer(payload: Payload, name: str, *, optional: bool = False) -> Any:
    """A whole number of the payload, or `None` if it may be missing."""
    value = payload.get(name)
    if value is None and optional:
        return None
    if type(value) is not int or abs(value) > 1 << 40:
        raise UserError(f"{name} must be a whole number, not {str(value)[:40]!r}.")
    return value


def run_options(payload: Payload) -> RunOptions:
    """Direction and range of a run."""
    direction = payload.get("direction", "both")
    if direction not in ("both", "forward", "backward"):
        raise UserError(f"a run goes both, forward or backward, not {str(direction)[:40]!r}.")
    options = RunOptions(direction, integer(payload, "first", optional=True), integer(payload, "last", optional=True))
    if options.first is not None and options.last is not None and options.first > options.last:
        raise UserError(f"the range ends (frame {options.last + 1}) before it begins (frame {options.first + 1}).")
    return options


def _mark(controller: Controller, payload: Payload) -> None:
    controller.add_mark(integer(payload, "frame"), mark_from_json(payload.get("mark")))


def _erase(controller: Controller, payload: Payload) -> None:
    path, radius = payload.get("path"), payload.get("radius")
    good = isinstance(path, list) and 1 <= len(path) <= MAX_POINTS and type(radius) in (int, float)
    array = np.array(path, dtype=object) if good else np.empty(0)
    if array.ndim != 2 or array.shape[1] != 2 or not all(type(v) in (int, float) for v in array.flat):
        raise UserError("erasing needs a path of [x, y] pairs and a radius, both as fractions of the frame.")
    points = array.astype(np.float64)
    if not np.isfinite(points).all() or np.abs(points).max() > 10:
        raise UserError("the eraser's path leaves the frame by far.")
    controller.erase(integer(payload, "frame"), points, float(radius))


def _clear(controller: Controller, payload: Payload) -> None:
    controller.clear_marks(integer(payload, "frame"))


def _segment(controller: Controller, payload: Payload) -> None:
    controller.segment_frame(integer(payload, "frame"))


def _add_object(controller: Controller, payload: Payload) -> Payload:
    return {"object_id": controller.add_object(name=payload.get("name"))}


def _change_object(controller: Controller, payload: Payload) -> None:
    changes = {name: payload[name] for name in ("name", "colour", "hidden", "locked") if name in payload}
    controller.change_object(integer(payload, "object_id"), **changes)


def _remove_object(controller: Controller, payload: Payload) -> None:
    controller.remove_object(integer(payload, "object_id"))


def _undo(controller: Controller, payload: Payload) -> Payload:
    return {"frame": controller.undo()}


def _redo(controller: Controller, payload: Payload) -> Payload:
    return {"frame": controller.redo()}


COMMANDS: dict[str, Callable[[Controller, Payload], Payload | None]] = {
    "mark": _mark,
    "erase": _erase,
    "clear": _clear,
    "segment": _segment,
    "add_object": _add_object,
    "change_object": _change_object,
    "remove_object": _remove_object,
    "undo": _undo,
    "redo": _redo,
}
