"""Files in and out over HTTP: uploads (masks, videos) and exports."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from dataset_torch.errors import UserError
from dataset_torch.frames import VIDEO_SUFFIXES
from dataset_torch.masks import decode_mask
from libs.app.application import Application, Job
from libs.app.bodies import read_json
from libs.app.commands import Payload
from libs.app.controller import Controller
from libs.app.exports import EXPORTS, ExportOptions
from libs.app.imports import import_file
from libs.app.sinks import FolderSink, ZipSink


class Stopped(UserError):
    """The user cancelled an export or an import."""


def add_transfer_routes(server: FastAPI, application: Application, wait: Callable[[Any], Awaitable[Any]]) -> None:
    """Add the routes; `wait` awaits one of the worker's futures."""

    @server.post("/api/upload/mask")
    async def upload_mask(session: str, revision: int, frame: int, file: UploadFile) -> Any:
        application.refuse_in_study("no mask can be imported")
        mask = decode_mask(await file.read(), file.filename or "mask")
        payload = {"session": session, "revision": revision}
        return await wait(application.edit(payload, lambda controller: controller.import_mask(frame, mask)))

    @server.post("/api/upload/masks")
    async def upload_masks(session: str, file: UploadFile, revision: int | None = None) -> Any:
        application.refuse_in_study("no mask can be imported")
        path = await run_in_threadpool(_kept, file, Path(tempfile.gettempdir()))

        def work(job: Job, controller: Controller) -> Payload:
            def tick(done: int, total: int) -> None:
                _report(application, job, done, total)
                if job.cancel.is_set():
                    raise Stopped("the import was cancelled; nothing was changed.")

            try:
                return {"masks": import_file(controller, path, tick)}
            finally:
                path.unlink(missing_ok=True)

        try:
            if revision is None:  # the upload may have taken minutes: what was drawn meanwhile is not in its way
                revision = application.opened().controller.revision
            return await wait(application.start("The import", {"session": session, "revision": revision}, work))
        except UserError:
            path.unlink(missing_ok=True)
            raise

    @server.post("/api/upload/video")
    async def upload_video(file: UploadFile) -> Any:
        application.refuse_in_study("no other video can be opened")
        name = re.sub(r"[^\w. -]", "_", Path(file.filename or "video").name).lstrip(". ") or "video"
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            raise UserError(f"a video file ends in one of {', '.join(VIDEO_SUFFIXES)}; {name!r} does not.")
        path = await run_in_threadpool(_kept, file, application.upload_folder(), name)
        try:
            return await wait(application.open(path))
        except UserError:
            path.unlink(missing_ok=True)
            raise

    @server.post("/api/export")
    async def export(request: Request) -> Any:
        return await wait(start_export(application, await read_json(request)))

    @server.get("/api/exports/{name}")
    def download(name: str) -> Response:
        folder = application.opened().controller.workspace.folder / "exports"
        found = {p.name: p for p in folder.iterdir() if p.is_file()} if folder.is_dir() else {}
        if name not in found:
            return JSONResponse({"error": "there is no such export."}, 404)
        return FileResponse(found[name], filename=name, media_type="application/zip")


def start_export(application: Application, payload: Payload) -> Any:
    """Start an export to a zip or a folder in the workspace; the job's result says where it is."""
    kind, form = payload.get("kind"), payload.get("form", "zip")
    if not isinstance(kind, str) or kind not in EXPORTS or form not in ("zip", "folder"):
        raise UserError(f"an export is one of {', '.join(EXPORTS)}, as zip or folder.")
    options = _options(payload)

    def work(job: Job, controller: Controller) -> Payload:
        folder = controller.workspace.folder / "exports"
        name = f"{controller.frames.name}-{kind}"
        sink = ZipSink(folder / f"{name}.zip") if form == "zip" else FolderSink(_free(folder, name))

        def tick(done: int, total: int) -> None:
            _report(application, job, done, total)
            if job.cancel.is_set() and done < total:
                raise Stopped("the export was cancelled; nothing was written.")

        with sink:
            EXPORTS[kind](controller, sink, options, tick)
        found = {"path": str(sink.path)}
        return {**found, "download": f"/api/exports/{quote(sink.path.name, safe='')}"} if form == "zip" else found

    return application.start("The export", payload, work)


def _report(application: Application, job: Job, done: int, total: int) -> None:
    job.done, job.total = done, total
    application.hub.publish("progress", job=job.describe())


def _options(payload: Payload) -> ExportOptions:
    colours, alpha = payload.get("colours", {}), payload.get("alpha", 0.5)
    good = isinstance(colours, dict) and type(alpha) in (int, float) and 0 <= alpha <= 1
    if not good or len(colours) > 255:
        raise UserError("an export's colours are {object id: #rrggbb}, its alpha a number in [0, 1].")
    parsed = {}
    for key, value in colours.items():
        if not re.fullmatch(r"[0-9]{1,3}", key) or int(key) > 255:
            raise UserError(f"{key[:20]!r} is no object id.")
        if not isinstance(value, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise UserError(f"a colour is written #rrggbb, not {str(value)[:20]!r}.")
        parsed[int(key)] = tuple(bytes.fromhex(value[1:]))
    return ExportOptions(parsed, float(alpha), payload.get("contours") is not False)


def _free(folder: Path, name: str) -> Path:
    """A path that does not exist: the name, else with the first free number behind it."""
    path, number = folder / name, 2
    while path.exists():
        path, number = folder / f"{name}-{number}", number + 1
    return path


def _kept(file: UploadFile, folder: Path, name: str | None = None) -> Path:
    """The upload as a file that outlives the request: a temporary one, or `name`, never over an older file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".upload.", delete=False) as copy:
            shutil.copyfileobj(file.file, copy)
        path = Path(copy.name)
        if name is None:
            return path
        stem, suffix, number = Path(name).stem, Path(name).suffix, 2
        wanted = folder / name
        while wanted.exists():
            wanted, number = folder / f"{stem}-{number}{suffix}", number + 1
        return path.rename(wanted)
    except OSError as error:
        raise UserError(f"the upload cannot be kept in {folder}: {error.strerror or error}.") from error
