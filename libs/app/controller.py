"""What a user can do to a session, as plain functions: no HTTP, no threads.

Every command either finishes, is written to the workspace and can be undone, or raises and changes nothing.  A
propagation is written frame by frame; stopped at any point, what it reached is kept as one step.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs.app.history import History, Marks, Step
from libs.app.locks import keep_locked
from libs.app.marks import Mark, erase
from libs.app.objects import ObjectTable
from libs.app.proposals import propose
from libs.app.workspace import Workspace
from libs.interactions import MAX_OBJECT_ID, Click, FrameAnnotation, Scribble
from libs.segmenter import Segmenter
from libs.session import MemoryRecord, Session, SessionState
from libs.storage import Prediction

VOID = 255  # label of several data sets for pixels that do not count


@dataclass(frozen=True)
class RunOptions:
    """Where a propagation goes: both ways, one way, or only within the frames `first` to `last`, both included."""

    direction: Literal["both", "forward", "backward"] = "both"
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Progress:
    """One frame that is done."""

    frame: int
    score: float
    direction: str  # annotated, backward, forward
    done: int
    total: int  # frames of this round at most, the annotated one not counted


class Controller:
    """One open session: the objects, the marks, what is predicted, and the way back."""

    def __init__(
        self,
        segmenter: Segmenter,
        frames: FrameSource,
        folder: str | Path,
        *,
        cache_bytes: int = 256 << 20,
        undo_steps: int = 100,
    ):
        self.segmenter, self.frames = segmenter, frames
        self.session: Session = segmenter.open(frames)
        self.workspace = Workspace(folder, self.session, cache_bytes=cache_bytes)
        self.objects = ObjectTable()
        self.marks: Marks = {}
        self.history = History(undo_steps)
        self.session_token = secrets.token_hex(4)  # of this opening: commands meant for another session are refused
        self.revision = 0  # grows with every change; commands that were made for an older one are refused
        self._saved: SessionState | None = None  # the state of the present step; None = the session has moved on
        try:
            self._resume()
        except BaseException:
            self.workspace.close()
            raise

    def _resume(self) -> None:
        network = self.segmenter.network
        steps, position, unfinished = self.workspace.load(network.memory_class, self.segmenter.device)
        if not steps:
            self.objects = ObjectTable().add()
            self._commit("Open", None)
            return
        self.history.steps = steps
        self._show(position)
        if unfinished is not None:
            self.session.state.predictions.update(unfinished.predictions)
            self.session.state.scores.update(unfinished.scores)
            self._saved = None
            self._commit(f"Propagation of {len(unfinished.predictions)} frames (stopped)", self._latest_frame())

    def close(self) -> None:
        """Let go of the workspace.  Everything is written already."""
        self.workspace.close()

    # ---- marks ---------------------------------------------------------------------------------------------------

    def add_mark(self, frame: int, mark: Mark) -> None:
        """Draw a stroke or a click (`object_id` 0: background) on a frame."""
        self._check_frame(frame)
        if mark.object_id != 0 and self.objects.get(mark.object_id).locked:
            raise UserError(f"{self.objects.get(mark.object_id).name} is locked. Unlock it to draw on it.")
        self.marks = {**self.marks, frame: (*self.marks.get(frame, ()), mark)}
        self._commit("Click" if isinstance(mark, Click) else "Stroke", frame)

    def erase(self, frame: int, path: np.ndarray, radius: float) -> None:
        """Rub out marks along a path (k x 2 fractions); `radius` is a fraction of the frame's width."""
        self._check_frame(frame)
        if not 0 < radius <= 1:
            raise UserError(f"the eraser's radius is a fraction of the frame's width, not {radius}.")
        before = self.marks.get(frame, ())
        aspect = self.frames.height / self.frames.width
        after = erase(before, path, radius, aspect=aspect, keep_ids=self.objects.locked_ids)
        if len(after) == len(before) and all(a is b for a, b in zip(after, before, strict=True)):
            return
        self.marks = _with_marks(self.marks, frame, after)
        self._commit("Erase", frame)

    def clear_marks(self, frame: int) -> None:
        """Take away every mark on a frame that was not run yet."""
        self._check_frame(frame)
        if frame in self.marks:
            self.marks = _with_marks(self.marks, frame, ())
            self._commit("Clear strokes", frame)

    # ---- objects -------------------------------------------------------------------------------------------------

    def add_object(self, *, name: str | None = None) -> int:
        """A new object, at any time; returns its id."""
        self.objects = self.objects.add(name=name)
        entry = self.objects.entries[-1]
        self._commit(f"Add {entry.name}", None)
        return entry.id

    def change_object(self, object_id: int, **changes: object) -> None:
        """Rename, recolour, lock, hide.  Hiding only changes what is shown: it is no step, and no undo touches it."""
        old = self.objects.get(object_id)
        table = self.objects.change(object_id, **changes)
        new = table.get(object_id)
        if new == old:
            return
        if new.hidden != old.hidden:
            self._hide(object_id, new.hidden)
        if replace(new, hidden=old.hidden) == old:
            return
        self.objects = table
        what = "Rename" if "name" in changes else "Lock" if new.locked and not old.locked else "Change"
        self._commit(f"{'Unlock' if old.locked and not new.locked else what} {new.name}", None)

    def _hide(self, object_id: int, hidden: bool) -> None:
        """Hide or show an object in every step, so that undo and redo leave it as it is."""
        tables = {
            position: step.objects.change(object_id, hidden=hidden)
            for position, step in enumerate(self.history.steps)
            if object_id in step.objects.ids
        }
        self.workspace.update_objects(tables)
        for position, table in tables.items():
            self.history.steps[position] = replace(self.history.steps[position], objects=table)
        self.objects = self.history.present.objects
        self.revision += 1

    def remove_object(self, object_id: int) -> None:
        """Delete an object with its strokes, masks and memory."""
        entry = self.objects.get(object_id)
        if entry.locked:
            raise UserError(f"{entry.name} is locked. Unlock it before deleting it.")
        before = self._before()
        try:
            self.objects = self.objects.remove(object_id)
            self.marks = {
                frame: kept
                for frame, marks in self.marks.items()
                if (kept := tuple(m for m in marks if m.object_id != object_id))
            }
            if object_id in self.session.object_ids:
                self.session.remove_object(object_id)
                self._saved = None
            self._commit(f"Delete {entry.name}", None)
        except BaseException:
            self._back(before)
            raise

    def replace_objects(self, object_ids: Iterable[int]) -> None:
        """Begin a new session with exactly these objects.  Raises `UserError` if anything was done already."""
        if self.history.position > 0 or len(self.history.steps) > 1:
            raise UserError("objects can be given only to a session that nothing was done in yet.")
        table = ObjectTable()
        for object_id in object_ids:
            table = table.add(object_id=object_id)
        self.objects = table
        present = self.history.present
        self.history.steps[0] = replace(present, objects=table)
        self.workspace.update_objects({0: table})
        self.revision += 1

    def import_mask(self, frame: int, mask: np.ndarray) -> None:
        """Take a finished mask (uint8 H x W of ids, 255 = void) as a frame's annotation; new ids become objects."""
        self._check_frame(frame)
        mask = self._checked_mask(mask)
        if not mask.any():
            raise UserError("the mask shows no object: every pixel is background.")
        before = self._before()
        try:
            self._learn_ids(mask)
            self.segmenter.annotate(self.session, FrameAnnotation(frame, mask=mask))
            ids = self.session.object_ids
            self.session.state.predictions[frame] = self.workspace.store_mask(mask, ids)
            self._saved = None
            self._commit(f"Import mask, frame {frame + 1}", frame)
        except BaseException:
            self._back(before)
            raise

    def import_masks(self, masks: Iterable[tuple[int, np.ndarray]], *, names: dict[int, str] | None = None) -> int:
        """Take finished masks (frame, uint8 H x W of ids) as what is predicted; returns how many.

        Nothing is annotated by this: the masks are shown, exported, and corrected by the next rounds.
        """
        before, count = self._before(), 0
        try:
            for frame, mask in masks:
                self._check_frame(frame)
                mask = self._checked_mask(mask)
                self._learn_ids(mask, names)
                self.session.state.predictions[frame] = self.workspace.store_mask(mask, self.session.object_ids)
                self.session.state.scores.pop(frame, None)
                count += 1
            if count == 0:
                raise UserError("there is no mask in it that belongs to a frame of this video.")
            self._saved = None
            self._commit(f"Import {count} masks", None)
        except BaseException:
            self._back(before)
            raise
        return count

    # ---- segmenting ----------------------------------------------------------------------------------------------

    @property
    def marked_frames(self) -> list[int]:
        """Frames with marks that were not run yet, in the order they were begun."""
        return list(self.marks)

    def segment_frame(self, frame: int) -> float:
        """Hand the marks of a frame to the network: a new round.  Returns the frame's R-score."""
        self._check_frame(frame)
        marks = self.marks.get(frame, ())
        named = {m.object_id for m in marks} - {0}
        if not marks or not (named or self.session.annotated_frames):
            raise UserError("draw on the object first: a stroke with the left mouse button, then run.")
        before = self._before()
        annotation = FrameAnnotation(
            frame,
            tuple(m for m in marks if isinstance(m, Scribble)),
            tuple(m for m in marks if isinstance(m, Click)),
        )
        try:
            for object_id in sorted(named - set(self.session.object_ids)):
                self.session.add_object(object_id)
            result = self.segmenter.annotate(self.session, annotation)
            assert result is not None  # there are marks
            self._forget_unseen(frame, before[0])
            self.session.state.predictions[frame] = self._protected(frame, before[0])
            self._saved = None
            self.marks = _with_marks(self.marks, frame, ())
            self._commit(f"Round {len(self.session.rounds)}, frame {frame + 1}", frame)
        except BaseException:
            self._back(before)
            raise
        return result.score

    def run(
        self,
        options: RunOptions = RunOptions(),
        *,
        report: Callable[[Progress], None] = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Segment every marked frame and carry it through the video; without marks, carry the latest round on.

        `report` is called after every frame, `cancelled` is asked after every frame.  Returns whether it ran to its
        end; stopped, everything it reached is kept, and running again continues.
        """
        if not self.marks and not self.session.annotated_frames:
            raise UserError("draw on the object first: a stroke with the left mouse button, then run.")
        for frame in self._frames_to_run() or [None]:
            if frame is not None:
                score = self.segment_frame(frame)
                total = len(self._visits(options))
                report(Progress(frame, score, "annotated", 0, total))
            if cancelled() or not self._propagate(options, report, cancelled):
                return False
        return True

    def _frames_to_run(self) -> list[int]:
        """The marked frames as they were begun, but those where an object is drawn first: background alone is no round
        to begin with."""
        return sorted(self.marked_frames, key=lambda frame: all(m.object_id == 0 for m in self.marks[frame]))

    def _visits(self, options: RunOptions) -> list[int]:
        return list(self.segmenter.frames_to_visit(self.session, **vars(options)))

    def _propagate(
        self, options: RunOptions, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> bool:
        before, planned, visited, finished = self.session.snapshot(), self._visits(options), [], False
        total = len(planned)  # at most; a frame that is visited twice counts twice
        frames = self.segmenter.propagate(self.session, **vars(options))
        try:
            for result in frames:
                prediction = self._protected(result.frame, before)
                stored = self.workspace.record_frame(result.frame, prediction, result.score)
                self.session.state.predictions[result.frame] = stored
                self._saved = None
                visited.append(result.frame)
                report(Progress(result.frame, result.score, result.direction, len(visited), total))
                if len(visited) < total and cancelled():
                    break
            else:
                finished = True
        finally:
            frames.close()
            if visited:
                how = "" if finished else f" of {len(set(planned))} (stopped)"
                self._commit(f"Propagation, {len(set(visited))}{how} frames", self._latest_frame())
        return finished

    def _protected(self, frame: int, before: SessionState) -> Prediction:
        """The frame's new prediction on disk, with locked objects as they were before."""
        state = self.session.state
        new, old, locked = state.predictions[frame], before.predictions.get(frame), self.objects.locked_ids
        locked = tuple(i for i in locked if old is not None and i in old.object_ids)
        if old is not None and locked:
            ids = state.object_ids
            merged = keep_locked(old.unpack(ids), new.unpack(ids), ids, locked)
            new = Prediction.pack(merged, ids, new.format)
        return self.workspace.store_prediction(new)

    def _forget_unseen(self, frame: int, before: SessionState) -> None:
        """Leave out objects of which nothing is known on this frame, neither a mark nor an earlier prediction.

        The network segments something for every object it is given; for an object that was added on another frame and
        not propagated to this one yet, that would be a guess, and it would enter the memory.
        """
        state = self.session.state
        known = set(before.predictions[frame].object_ids) if frame in before.predictions else set()
        for r in state.rounds:
            if r.annotation.frame == frame:
                known |= r.annotation.object_ids
        rows = [row for row, i in enumerate(state.object_ids) if i in known]
        if len(rows) == len(state.object_ids):
            return
        ids = tuple(state.object_ids[row] for row in rows)
        state.predictions[frame] = Prediction.pack(state.predictions[frame].unpack(ids), ids, "float32")
        state.memory[-1] = MemoryRecord(frame, ids, state.memory[-1].entry.select_objects(rows))

    # ---- history -------------------------------------------------------------------------------------------------

    def undo(self) -> int | None:
        """Take the latest step back; returns the frame it was on, if any."""
        step = self.history.undo_step
        if step is None:
            raise UserError("there is nothing to undo.")
        return self._go(self.history.position - 1, step)

    def redo(self) -> int | None:
        """Do the step again that was undone last; returns the frame it was on, if any."""
        step = self.history.redo_step
        if step is None:
            raise UserError("there is nothing to redo.")
        return self._go(self.history.position + 1, step)

    def _go(self, position: int, step: Step) -> int | None:
        state = self.workspace.state(position)  # first: reading may fail
        self.workspace.set_position(position)
        self._show(position, state)
        self.revision += 1
        return step.frame

    def _show(self, position: int, state: SessionState | None = None) -> None:
        state = state or self.workspace.state(position)
        self.history.position = position
        self.objects, self.marks = self.history.present.objects, self.history.present.marks
        self.session.restore(state)
        self._saved = state

    def _commit(self, label: str, frame: int | None) -> None:
        """Make the present state a step, in memory and on disk.  Raises with nothing recorded if the disk refuses."""
        shares = self._saved is not None
        state = self._saved if self._saved is not None else self.session.snapshot()
        step = Step(label, frame, self.objects, self.marks)
        history = History(self.history.limit, list(self.history.steps), self.history.position)
        front, end = history.push(step)
        try:
            self.workspace.record(step, None if shares else state, dropped_front=front, dropped_end=end)
        except BaseException:
            if shares:  # a command that touched no masks is taken back here; the others take themselves back
                self.objects, self.marks = self.history.present.objects, self.history.present.marks
            raise
        self.history, self._saved = history, state
        self.revision += 1

    def _before(self) -> tuple[SessionState, ObjectTable, Marks, SessionState | None]:
        return self.session.snapshot(), self.objects, self.marks, self._saved

    def _back(self, before: tuple[SessionState, ObjectTable, Marks, SessionState | None]) -> None:
        self.session.restore(before[0])
        _, self.objects, self.marks, self._saved = before

    # ---- guidance ------------------------------------------------------------------------------------------------

    def recommended(self, policy: str, *, by_help: bool = True) -> list[int]:
        """Frames to look at next (RS1: one, RS4: up to four); see `libs.app.proposals`."""
        if not self.session.state.scores or not self.session.object_ids or len(self.frames) == 1:
            return []  # of a video of one frame there is no next one
        worked_on = {*self.session.annotated_frames, *self.marks}
        return propose(policy, self.session.scores, worked_on, by_help=by_help)

    # ---- checks --------------------------------------------------------------------------------------------------

    def _latest_frame(self) -> int | None:
        annotated = self.session.annotated_frames
        return annotated[-1] if annotated else None

    def _check_frame(self, frame: int) -> None:
        if isinstance(frame, bool) or not isinstance(frame, int) or not 0 <= frame < len(self.frames):
            raise UserError(f"there is no frame {frame}: {self.frames.name} has frames 0 to {len(self.frames) - 1}.")

    def _checked_mask(self, mask: np.ndarray) -> np.ndarray:
        size = (self.frames.height, self.frames.width)
        if mask.shape != size or mask.dtype != np.uint8:
            raise UserError(
                f"the mask is {mask.shape[1]}x{mask.shape[0]}, the video {size[1]}x{size[0]} (width x height). "
                "Give a mask of the video's size; scaling ids would blur their borders."
            )
        if self.objects.locked_ids:
            raise UserError("an imported mask replaces every object, but some are locked. Unlock them first.")
        return np.where(mask == VOID, np.uint8(0), mask)

    def _learn_ids(self, mask: np.ndarray, names: dict[int, str] | None = None) -> None:
        for object_id in (int(i) for i in np.unique(mask) if i):
            if object_id > MAX_OBJECT_ID:
                raise UserError(f"the mask has the id {object_id}; ids go up to {MAX_OBJECT_ID}.")
            if object_id not in self.objects.ids:
                self.objects = self.objects.add(name=(names or {}).get(object_id), object_id=object_id)
            if object_id not in self.session.object_ids:
                self.session.add_object(object_id)

    # ---- reading -------------------------------------------------------------------------------------------------

    def version(self, frame: int) -> str:
        """Changes whenever the frame's mask may have changed."""
        self._check_frame(frame)
        prediction, ids = self.session.state.predictions.get(frame), self.session.object_ids
        return "none" if prediction is None else f"{getattr(prediction, 'key', 'new')}-{prediction.object_ids}-{ids}"

    def probabilities(self, frame: int) -> np.ndarray:
        """float32 (1 + O) x H x W at the video's size, in the order of the session's objects."""
        return self._probabilities(frame)[0]

    def mask(self, frame: int) -> np.ndarray:
        """uint8 H x W of object ids at the video's size; safe to call while another thread propagates."""
        self._check_frame(frame)
        prediction, ids = self.session.state.predictions.get(frame), self.session.object_ids
        imported = getattr(prediction, "imported_mask", lambda ids: None)(ids)
        if imported is not None:
            return imported
        if prediction is None:
            return np.zeros((self.frames.height, self.frames.width), np.uint8)
        probabilities, ids = self._probabilities(frame)
        return np.array([0, *ids], np.uint8)[probabilities.argmax(axis=0)]

    def _probabilities(self, frame: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """The probabilities and the object ids of their channels, read once, so that they belong together."""
        self._check_frame(frame)
        state = self.session.state
        prediction, ids = state.predictions.get(frame), state.object_ids
        shape = (1 + len(ids), self.frames.height, self.frames.width)
        if prediction is None:
            return np.concatenate(
                [np.ones((1, *shape[1:]), np.float32), np.zeros((len(ids), *shape[1:]), np.float32)]
            ), ids
        imported = getattr(prediction, "imported_mask", lambda ids: None)(ids)
        if imported is not None:
            return np.stack([imported == i for i in (0, *ids)]).astype(np.float32), ids
        with torch.inference_mode():
            geometry, method = self.session.geometry, self.session.output_interpolation
            return geometry.to_original(prediction.unpack(ids), method=method).numpy(), ids


def _with_marks(marks: Marks, frame: int, new: tuple[Mark, ...]) -> Marks:
    kept = {f: m for f, m in marks.items() if f != frame}
    if not new:
        return kept
    return {f: (new if f == frame else m) for f, m in marks.items()} if frame in marks else {**marks, frame: new}
