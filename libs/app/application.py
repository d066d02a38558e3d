"""The application behind the server: one open video, one worker thread, one long job at a time.

The worker thread owns the segmenter and the session: commands queue up for it.  Reading (masks, pictures, the
description of the state) may happen in any thread at any time.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dataset_torch.errors import UserError
from dataset_torch.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FrameSource, VideoFile, is_picture, open_frames
from libs.app.commands import COMMANDS, Payload, run_options
from libs.app.controller import Controller, Progress
from libs.app.events import Hub
from libs.app.marks import mark_to_json
from libs.app.pictures import Pictures
from libs.app.security import Folders
from libs.app.study import Study
from libs.segmenter import Segmenter

log = logging.getLogger("gis.app")


class Conflict(UserError):
    """The command does not fit the present state: another page was faster, or a run is going on."""


@dataclass(frozen=True)
class AppSettings:
    """What the application needs to know besides the segmenter."""

    folders: Folders
    workspace: Path | None = None  # folder of all sessions; None = next to each video
    prediction_cache_bytes: int = 256 << 20
    frame_cache_bytes: int = 256 << 20
    undo_steps: int = 100
    upload_bytes: int = 512 << 20  # largest file that may be uploaded

    def workspace_of(self, path: Path, name: str | None = None) -> Path:
        """The folder of the session of a video; with the suffix in its name, so that a.mp4 and a.avi have their own."""
        parent = self.workspace or path.resolve().parent
        return parent / f"{name or path.resolve().name}.gis"


@dataclass
class Job:
    """A long command that is under way."""

    label: str
    done: int = 0
    total: int = 0
    started: float = field(default_factory=time.monotonic)
    cancel: threading.Event = field(default_factory=threading.Event)

    def describe(self) -> Payload:
        """What the page shows: progress and the seconds that are left, `None` while nothing is known."""
        left = None
        if self.done:
            left = (time.monotonic() - self.started) / self.done * (self.total - self.done)
        return {"label": self.label, "done": self.done, "total": self.total, "seconds_left": left}


@dataclass(frozen=True)
class OpenVideo:
    """A video with its session."""

    path: Path
    controller: Controller
    pictures: Pictures
    token: str = field(default_factory=lambda: secrets.token_hex(4))  # of this opening, for addresses of pictures

    @property
    def fingerprint(self) -> str:
        """Unlike the session's, another one after every opening: two videos may begin and end alike."""
        return f"{self.controller.session.fingerprint}-{self.token}"


class Application:
    """Everything the server does, without HTTP."""

    def __init__(self, segmenter: Segmenter, settings: AppSettings):
        self.segmenter, self.settings = segmenter, settings
        self.hub = Hub()
        self.job: Job | None = None
        self.video: OpenVideo | None = None
        self.study: Study | None = None  # set before the first video is opened
        self._token = secrets.token_hex(4)  # of this server
        self._descriptions = itertools.count(1)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._unfinished: set[Future[Any]] = set()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="segmenter")

    # ---- opening and closing -------------------------------------------------------------------------------------

    def open(self, path: str | Path, *, name: str | None = None, frames: FrameSource | None = None) -> Future[Payload]:
        """Open a video file or a folder of frames (`frames`, if they have been opened already).

        The session that was open is closed (it is saved already).
        """
        return self._submit(lambda: self._open(Path(path), name, frames))

    def _open(self, path: Path, name: str | None, frames: FrameSource | None) -> Payload:
        if frames is None:
            frames = open_video(path, self.settings.frame_cache_bytes, cancelled=self._stopping.is_set)
        viewed = frames.reopened()
        if name is not None:
            frames.name = viewed.name = name
        folder = self.settings.workspace_of(path, name)
        if self.video is not None and self.video.controller.workspace.folder == folder:
            if self.video.path.resolve() != path.resolve():
                raise UserError(
                    f"{path} would have the session of {self.video.path}, which is open: both are called "
                    f"{frames.name}. Rename one of them, or start again with another --workspace."
                )
            return {"state": self.describe()}
        controller = Controller(
            self.segmenter,
            frames,
            folder,
            cache_bytes=self.settings.prediction_cache_bytes,
            undo_steps=self.settings.undo_steps,
        )
        if self.study is not None:
            self.study.prepare(controller)
        previous, self.video = self.video, OpenVideo(path, controller, Pictures(viewed, folder / "thumbnails"))
        if previous is not None:
            previous.controller.close()
        log.info("opened %s, session in %s", path, folder)
        self._changed()
        return {"state": self.describe()}

    def stop(self) -> None:
        """Ask whatever is under way to end, and let every page go."""
        self._stopping.set()
        self.cancel()
        self.hub.close()

    def close(self, *, patience: float | None = None) -> bool:
        """Stop what is running, wait for it (at most `patience` seconds), and let go of the workspace.

        Returns whether it ended.  If it did not, it is inside one long call, a decoder's or the network's; the program
        may be ended all the same, because what is written is whole at any moment.
        """
        self.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)
        if wait(tuple(self._unfinished), patience).not_done:
            return False
        if self.video is not None:
            self.video.controller.close()
            self.video = None
        return True

    # ---- commands ------------------------------------------------------------------------------------------------

    def command(self, name: str, payload: Payload) -> Future[Payload]:
        """Queue a short command; the future's result has the new `state`."""
        function = COMMANDS.get(name)
        if function is None:
            raise UserError(f"there is no command {name[:40]!r}.")
        if self.study is not None:
            return self.edit(payload, lambda controller: self._timed(self.study, name, controller, payload))
        return self.edit(payload, lambda controller: function(controller, payload))

    def _timed(self, study: Study, name: str, controller: Controller, payload: Payload) -> Payload | None:
        """A command of the real-user evaluation, with its time taken."""
        study.check_running()
        if name == "segment":
            study.clock.operation_begins()
        try:
            extra = COMMANDS[name](controller, payload)
        except BaseException:
            study.clock.operation_ends(good=False)
            raise
        study.clock.operation_ends()
        if name == "mark":
            seconds = payload.get("seconds", 0.0)
            study.clock.stroke(float(seconds) if type(seconds) in (int, float) and 0 <= seconds < 3600 else 0.0)
        return extra

    def edit(self, payload: Payload, work: Callable[[Controller], Payload | None]) -> Future[Payload]:
        """Queue work on the controller as it was when the page sent its `session` and `revision`."""

        def execute() -> Payload:
            controller = self.checked(payload)
            try:
                extra = work(controller) or {}
            finally:
                self._changed()
            return {**extra, "state": self.describe()}

        return self._submit(execute)

    def _submit(self, work: Callable[[], Payload]) -> Future[Payload]:
        with self._lock:
            if self.job is not None:
                raise Conflict(f"{self.job.label} is running. Wait for it, or cancel it first.")
            return self._queue(work)

    def _queue(self, work: Callable[[], Any]) -> Future[Any]:
        future = self._worker.submit(work)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def checked(self, payload: Payload) -> Controller:
        """The controller, if the command was made for its present state.  Raises `Conflict` otherwise."""
        if self.video is None:
            raise UserError("no video is open. Open one first.")
        controller = self.video.controller
        if payload.get("session") != controller.session_token:
            raise Conflict("another video was opened, or the server was started anew. The page now shows what is open.")
        if payload.get("revision") != controller.revision:
            raise Conflict("the session was changed in another tab. The page now shows the latest state; try again.")
        return controller

    def run(self, payload: Payload) -> Future[Payload]:
        """Start a run; the future is done as soon as it has begun."""
        options = run_options(payload)

        def work(job: Job, controller: Controller) -> Payload:
            def report(progress: Progress) -> None:
                job.done, job.total = progress.done, progress.total
                begins = progress.done == 0
                if begins:
                    job.started = time.monotonic()
                self.hub.publish("progress", job=job.describe(), **asdict(progress))
                if begins:
                    self._changed()  # the frame's marks are a round now

            if self.study is None:
                return {"complete": controller.run(options, report=report, cancelled=job.cancel.is_set)}
            self.study.clock.operation_begins()
            good = False
            try:
                complete = controller.run(options, report=report, cancelled=job.cancel.is_set)
                good = True
            finally:
                annotated = controller.session.annotated_frames
                self.study.run_ended(annotated[-1] if annotated else None, good=good)
            return {"complete": complete}

        if self.study is not None:
            self.study.check_running()
        return self.start("The run", payload, work)

    def start_study(self, payload: Payload) -> Future[Payload]:
        """Start the clock of the real-user evaluation."""
        return self.edit(payload, lambda controller: self._the_study().clock.start())

    def finish_study(self, payload: Payload) -> Future[Payload]:
        """The person is satisfied: measure and write the result."""
        return self.edit(payload, lambda controller: self._the_study().finish(controller))

    def _the_study(self) -> Study:
        if self.study is None:
            raise UserError("this is no real-user evaluation: it is started with --davis SEQUENCE.")
        return self.study

    def refuse_in_study(self, what: str) -> None:
        """Raise `UserError` in the real-user evaluation: it measures what the person draws."""
        if self.study is not None:
            raise UserError(f"{what} during the evaluation.")

    def truth(self, frame: int) -> np.ndarray:
        """Ground truth of a frame, uint8 H x W, if the evaluation lets the person see it."""
        if self.study is None or not self.study.truth:
            raise UserError("the ground truth is not shown unless --study-truth asks for it.")
        self.opened().controller.version(frame)  # checks the number
        return self.study.sequence.mask(frame)

    def start(self, label: str, payload: Payload, work: Callable[[Job, Controller], Payload]) -> Future[Payload]:
        """Start a long job in the worker; the future is done as soon as the command is accepted.

        Its end is published as `finished` with the job's result, or as `failed` with a message.
        """
        accepted: Future[Payload] = Future()
        job = Job(label)

        def execute() -> None:
            try:
                controller = self.checked(payload)
            except BaseException as error:
                self._end(job)
                accepted.set_exception(error)
                return
            if not accepted.set_running_or_notify_cancel():  # whoever asked is gone
                self._end(job)
                return
            self.hub.publish("started", job=job.describe())
            accepted.set_result({"job": job.describe()})
            ending: Payload
            try:
                ending = {"kind": "finished", **work(job, controller)}
            except UserError as error:
                ending = {"kind": "failed", "message": str(error)}
            except Exception as error:  # a fault of ours: told, logged, and the server goes on
                log.exception("%s failed", label)
                ending = {"kind": "failed", "message": f"{label} failed ({type(error).__name__}: {error})."[:500]}
            self._end(job)
            self._changed()
            self.hub.publish(label=label, cancelled=job.cancel.is_set(), **ending)

        with self._lock:
            if self.job is not None:
                raise Conflict(f"{self.job.label} is running. Wait for it, or cancel it first.")
            self.job = job
            self._queue(execute)
        return accepted

    def _end(self, job: Job) -> None:
        with self._lock:
            if self.job is job:
                self.job = None

    def cancel(self) -> None:
        """Ask the running job to stop after the frame it is on."""
        job = self.job
        if job is not None:
            job.cancel.set()

    def _changed(self) -> None:
        video = self.video
        if video is not None:
            self.hub.publish("changed", session=video.controller.session_token, revision=video.controller.revision)

    # ---- reading -------------------------------------------------------------------------------------------------

    def opened(self) -> OpenVideo:
        """The open video.  Raises `UserError` when there is none."""
        if self.video is None:
            raise UserError("no video is open. Open one first.")
        return self.video

    def describe(self) -> Payload:
        """Everything the page needs to draw itself, but the scores, the masks and the pictures.

        Answers may overtake each other on their way, also those about different sessions: the page takes none whose
        `number` is below that of one it has.  A number is drawn before anything is read, and every change is announced
        after it was made, so the page's last question always gets a higher number than all answers without the change.
        """
        drawn = {"server": self._token, "number": next(self._descriptions)}
        video, job = self.video, self.job
        running = None if job is None else job.describe()
        if video is None:
            return {**drawn, "video": None, "job": running, "upload_bytes": self.settings.upload_bytes}
        controller = video.controller
        frames, session, history = controller.frames, controller.session, controller.history
        undo, redo = history.undo_step, history.redo_step
        return {
            **drawn,
            "session": controller.session_token,
            "revision": controller.revision,
            "video": {
                "name": frames.name,
                "frames": len(frames),
                "height": frames.height,
                "width": frames.width,
                "frames_per_second": frames.frames_per_second,
                "path": str(video.path),
                "workspace": str(controller.workspace.folder),
                "fingerprint": video.fingerprint,
            },
            "objects": [asdict(entry) for entry in controller.objects.entries],
            "marks": {frame: [mark_to_json(m) for m in marks] for frame, marks in controller.marks.items()},
            "rounds": [
                {"number": r.number, "frame": r.annotation.frame, "imported": r.annotation.mask is not None}
                for r in session.rounds
                if not r.empty
            ],
            "predicted": len(session.state.predictions),
            "scores_version": _digest(session.scores),
            "recommended": self._recommended(controller),
            "undo": None if undo is None else {"label": undo.label, "frame": undo.frame},
            "redo": None if redo is None else {"label": redo.label, "frame": redo.frame},
            "job": running,
            "upload_bytes": self.settings.upload_bytes,
            "study": None if self.study is None else self.study.describe(),
        }

    def _recommended(self, controller: Controller) -> dict[str, list[int]]:
        offered = ("RS1", "RS4") if self.study is None else (self.study.condition,)
        by_help = self.study is None  # the study compares the published rules
        return {p: controller.recommended(p, by_help=by_help) for p in offered if p != "wo_RS"}

    def scores(self) -> Payload:
        """The R-score of every frame, `None` where there is none."""
        scores = self.opened().controller.session.scores
        values = [None if np.isnan(s) else round(float(s), 5) for s in scores]
        return {"version": _digest(scores), "scores": values}

    def given_marks(self, frame: int) -> list[Payload]:
        """The strokes and clicks that earlier rounds gave on a frame."""
        rounds = self.opened().controller.session.rounds
        found = [r.annotation for r in rounds if r.annotation.frame == frame]
        return [mark_to_json(m) for a in found for m in (*a.scribbles, *a.clicks)]

    def list_folder(self, text: str | None) -> Payload:
        """The videos and folders below one of the permitted folders; without a path, those folders themselves.

        `pictures` is how many frames there are if the folder itself is opened as a video.
        """
        folders = self.settings.folders
        if not text:
            there = [root for root in folders.roots if root.is_dir()]
            entries = [{"name": str(root), "path": str(root), "kind": "folder"} for root in there]
            return {"path": None, "parent": None, "entries": entries}
        path = folders.allow(text)
        if not path.is_dir():
            raise UserError(f"{text[:200]!r} is not a folder.")
        entries, pictures = [], 0
        try:
            for entry in sorted(path.iterdir(), key=lambda p: p.name.lower()):
                if entry.name.startswith(".") or entry.suffix == ".gis" or not folders.contains(entry):
                    continue
                pictures += is_picture(entry) and entry.is_file()
                if not _is_text(entry.name):
                    continue
                if entry.is_dir():
                    entries.append({"name": entry.name, "path": str(entry), "kind": _folder_kind(entry)})
                elif entry.suffix.lower() in VIDEO_SUFFIXES and entry.is_file():
                    entries.append({"name": entry.name, "path": str(entry), "kind": "video"})
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from error
        parent = str(path.parent) if folders.contains(path.parent) else None
        several = len(folders.roots) > 1
        return {"path": str(path), "parent": parent, "several": several, "pictures": pictures, "entries": entries}

    def open_from_page(self, text: Any) -> Future[Payload]:
        """`open` for a path that the page named: it, and every frame in it, must be inside the permitted folders."""
        if not isinstance(text, str):
            raise UserError("a path is needed.")
        self.refuse_in_study("no other video can be opened")
        path = self.settings.folders.allow(text)
        if path.is_dir():
            for entry in path.iterdir():
                self.settings.folders.allow(entry)
        return self.open(path)

    def upload_folder(self) -> Path:
        """Where uploaded videos go: the folder of the sessions, or the first permitted folder."""
        return self.settings.workspace or self.settings.folders.roots[0]


def open_video(path: Path, cache_bytes: int, *, cancelled: Callable[[], bool] = lambda: False) -> FrameSource:
    """A frame source with half the cache that the settings allow: the other half is for looking around."""
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return VideoFile(path, cache_bytes=cache_bytes // 2, cancelled=cancelled)
    return open_frames(path)


def _folder_kind(folder: Path) -> str:
    """`frames` for a folder of pictures, `mixed` if videos or folders lie among them, else `folder`."""
    pictures = others = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.name)
                if path.name.startswith(".") or path.suffix == ".gis":
                    continue
                pictures = pictures or is_picture(path)
                others = others or path.suffix.lower() in VIDEO_SUFFIXES or entry.is_dir()
                if pictures and others:
                    return "mixed"
    except OSError:
        return "folder"
    return "frames" if pictures else "folder"


def _is_text(name: str) -> bool:
    """Whether a file's name can be sent to the page: names that are no UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digest(scores: np.ndarray) -> str:
    return f"{zlib.crc32(scores.tobytes()):08x}"
