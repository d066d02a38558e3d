"""Undo and redo: a line of steps, each with what was on the page after it.

The session's state after a step (predictions, scores, memory) is in the workspace: in memory it would cost some hundred
bytes for every frame and every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from libs.app.marks import Mark, mark_from_json, mark_to_json
from libs.app.objects import ObjectTable

Marks = dict[int, tuple[Mark, ...]]  # frame -> its marks; never changed in place


@dataclass(frozen=True)
class Step:
    """One thing that the user did, and objects and marks after it."""

    label: str  # in words, for the undo button
    frame: int | None  # where it happened; undo shows this frame
    objects: ObjectTable
    marks: Marks


@dataclass
class History:
    """The steps, oldest first; `position` is the present one, those behind it can be redone."""

    limit: int
    steps: list[Step] = field(default_factory=list)
    position: int = -1

    @property
    def present(self) -> Step:
        """The step after which everything is as it is now."""
        return self.steps[self.position]

    def push(self, step: Step) -> tuple[int, int]:
        """Append a step after the present one; returns how many steps fell off the front and off the end."""
        behind = len(self.steps) - 1 - self.position
        del self.steps[self.position + 1 :]
        self.steps.append(step)
        over = max(0, len(self.steps) - 1 - self.limit)  # the first step is the floor, not something to undo
        del self.steps[:over]
        self.position = len(self.steps) - 1
        return over, behind

    @property
    def undo_step(self) -> Step | None:
        """The step that undo would take back."""
        return self.steps[self.position] if self.position > 0 else None

    @property
    def redo_step(self) -> Step | None:
        """The step that redo would do again."""
        return self.steps[self.position + 1] if self.position + 1 < len(self.steps) else None


def marks_to_json(marks: Marks) -> dict[str, Any]:
    """Plain data for JSON."""
    return {str(frame): [mark_to_json(m) for m in marks[frame]] for frame in marks}


def marks_from_json(data: dict[str, Any]) -> Marks:
    """What `marks_to_json` wrote."""
    return {int(frame): tuple(mark_from_json(m) for m in items) for frame, items in data.items()}
