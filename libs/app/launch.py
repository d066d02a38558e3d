"""From the settings to a running server."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import uvicorn

from config import ROOT, SAMPLE, Config
from dataset_torch.davis import DavisSequence, open_davis
from dataset_torch.errors import UserError
from libs.app.application import Application, AppSettings
from libs.app.security import Access, Folders
from libs.app.server import create_server
from libs.app.study import Study
from libs.evaluation import load_segmenter
from libs.segmenter import Segmenter

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
    """Load the network, open the video, serve until interrupted."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    serve(config, load_segmenter(config, benchmark="davis"))


def serve(config: Config, segmenter: Segmenter) -> None:
    """`launch` with a segmenter that is there already."""
    plan = make_plan(config)
    access = Access(config.host, config.port, token=config.token, allowed_hosts=config.allowed_hosts)
    listener = bind(config.host, config.port)
    application = Application(segmenter, plan.settings)
    try:
        if plan.sequence is not None:
            folder = config.results_dir / "real_user"
            application.study = Study(plan.sequence, config.study_guidance, folder, truth=config.study_truth)
        if plan.video is not None:
            application.open(plan.video).result()
        server = create_server(application, access)
        _say(access, listener.getsockname()[1], application)
        settings = uvicorn.Config(
            server, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        uvicorn.Server(settings).run(sockets=[listener])
    finally:
        application.close()
        listener.close()


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
