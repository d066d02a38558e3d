"""From the settings to a running server."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import uvicorn

from config import ROOT, SAMPLE, Config
from dataset_torch.davis import DavisSequence, open_davis
from dataset_torch.errors import UserError
from dataset_torch.frames import FrameSource
from libs.app.application import Application, AppSettings, open_video
from libs.app.security import Access, Folders
from libs.app.server import create_server
from libs.app.study import Study
from libs.app.workspace import check_usable
from libs.checkpoints import resolve
from libs.evaluation import load_segmenter

PATIENCE = 1.0  # seconds that Ctrl-C waits for the frame in work

log = logging.getLogger("gis.app")


@dataclass(frozen=True)
class Plan:
    """What is opened, and where things may be."""

    video: Path | None
    settings: AppSettings
    sequence: DavisSequence | None = None  # of the real-user evaluation


def make_plan(config: Config) -> Plan:
    """Decide from the settings.  Raises `UserError` for paths that are not there."""
    for folder in config.folders:
        if not folder.is_dir():
            raise UserError(f"--folders: {folder} is not a folder.")
    sequence, video, workspace, roots = None, config.video, config.workspace, list(config.folders)
    if config.davis is not None:
        sequence = open_davis(config.davis_root, sequences=[config.davis]).sequences[0]
        video = sequence.frame_files[0].parent
        moment = time.strftime("%Y%m%d-%H%M%S")
        workspace = config.results_dir / "real_user" / f"{sequence.name}-{config.study_guidance}-{moment}"
    elif video is None and not config.folders:
        video = sample_video()
        roots.append(video.parent)  # the other sequences of the sample can be opened too
    if video is not None and not video.exists():
        raise UserError(f"{video} does not exist. Give a video file or a folder of frames.")
    if video is not None and video.resolve().is_relative_to(SAMPLE) and workspace is None:
        workspace = ROOT / "workspace"  # not among the files of the repository
    if video is not None:
        roots.append(video if video.is_dir() else video.parent)
    if workspace is not None and sequence is None:
        roots.append(workspace)  # uploaded videos are kept there, and can be opened again
    settings = AppSettings(
        Folders(roots),
        workspace=None if workspace is None else workspace.resolve(),
        prediction_cache_bytes=config.prediction_cache_mb << 20,
        frame_cache_bytes=config.frame_cache_mb << 20,
        undo_steps=config.undo_steps,
        upload_bytes=config.upload_limit_mb << 20,
    )
    return Plan(video, settings, sequence)


def sample_video() -> Path:
    """The first sequence of the bundled sample."""
    folder = SAMPLE / "DAVIS" / "JPEGImages" / "480p"
    found = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not found:
        raise UserError(f"the bundled sample is not in {folder}. Give a video file or a folder of frames.")
    return found[0]


def bind(host: str, port: int) -> socket.socket:
    """A socket on this address.  Raises `UserError` when it is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # from here on, whoever comes waits instead of being refused
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror or error}. Choose another --host or --port (0 = any free "
            "port)."
        ) from error
    return listener


def launch(config: Config) -> None:
    """Load the network, open the video, serve until interrupted.

    Whatever can be wrong with the settings, the video, the workspace and the address is told first, because loading
    takes seconds.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    resolve(config.checkpoint)
    plan = make_plan(config)
    access = Access(config.host, config.port, token=config.token, allowed_hosts=config.allowed_hosts)
    listener = bind(config.host, config.port)
    try:
        frames = _open_video(plan)
        application = Application(load_segmenter(config, benchmark="davis"), plan.settings)
        try:
            _serve(config, plan, frames, access, listener, application)
        finally:
            if not application.close(patience=PATIENCE):
                print("\nstopped; everything is saved", file=sys.stderr, flush=True)
                os._exit(0)  # Python itself would wait for the worker
    finally:
        listener.close()


def _open_video(plan: Plan) -> FrameSource | None:
    """The frames that the plan names.  Raises `UserError` for them and for a workspace that cannot be used."""
    if plan.video is None:
        return None
    check_usable(plan.settings.workspace_of(plan.video))
    found: Future[FrameSource] = Future()

    def read() -> None:
        try:
            found.set_result(open_video(plan.video, plan.settings.frame_cache_bytes))
        except BaseException as error:
            found.set_exception(error)

    # The frames of a damaged file may have to be counted inside the decoder, where no Ctrl-C is heard.
    threading.Thread(target=read, name="opening", daemon=True).start()
    return found.result()


def _serve(
    config: Config,
    plan: Plan,
    frames: FrameSource | None,
    access: Access,
    listener: socket.socket,
    application: Application,
) -> None:
    if plan.sequence is not None:
        folder = config.results_dir / "real_user"
        application.study = Study(plan.sequence, config.study_guidance, folder, truth=config.study_truth)
    if plan.video is not None:
        application.open(plan.video, frames=frames).result()
    server = create_server(application, access)
    _say(access, listener.getsockname()[1], application)
    settings = uvicorn.Config(
        server, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    _Server(settings, application).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ctrl-C stops what is running at once, and lets the open pages go, instead of waiting for them to leave."""

    def __init__(self, settings: uvicorn.Config, application: Application):
        super().__init__(settings)
        self.application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End serving."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # else: a traceback for each that still waits
        self.application.stop()
        await super().shutdown(sockets)


def _say(access: Access, port: int, application: Application) -> None:
    """Print where the page is; with the token, where one is demanded."""
    host = access.host if access.host not in ("0.0.0.0", "::") else socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    query = f"/?token={quote(access.token, safe='')}" if access.token else "/"
    print(f"Open http://{host}:{port}{query}", flush=True)
    if application.video is not None:
        print(f"Everything is saved as you go, in {application.video.controller.workspace.folder}", flush=True)
    if not access.any_address:
        print(
            f"From another computer: ssh -L {port}:localhost:{port} <this machine>, then the same address.", flush=True
        )
    print("Ctrl-C ends the server.", flush=True)
