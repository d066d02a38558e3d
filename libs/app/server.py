"""HTTP in front of the application: routes, and nothing that decides anything."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from dataset_torch.errors import UserError
from libs.app.application import Application, Conflict
from libs.app.bodies import read_json
from libs.app.pictures import Pictures
from libs.app.security import Access, Forbidden, Guard, told
from libs.app.transfers import add_transfer_routes

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
log = logging.getLogger("gis.app")


def create_server(application: Application, access: Access) -> Guard:
    """The ASGI application: the routes behind the guard."""
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    server.add_exception_handler(UserError, _user_error)
    server.add_exception_handler(HTTPException, _http_error)
    server.add_exception_handler(RequestValidationError, _bad_argument)
    server.add_exception_handler(Exception, _fault)
    _page_routes(server)
    _state_routes(server, application)
    _picture_routes(server, application)
    _command_routes(server, application)
    add_transfer_routes(server, application, finished)
    return Guard(server, access, upload_limit=application.settings.upload_bytes)


async def _user_error(request: Request, error: Exception) -> Response:
    status = 409 if isinstance(error, Conflict) else 403 if isinstance(error, Forbidden) else 422
    return _told(request, status, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    words = {404: "there is nothing at this address.", 405: "this address is not asked for in this way."}
    return _told(request, error.status_code, words.get(error.status_code, str(error.detail)))


async def _bad_argument(request: Request, error: Exception) -> Response:
    first = error.errors()[0]
    return _told(request, 422, f"{first['loc'][-1]}: {first['msg'][:200]}.")


def _told(request: Request, status: int, message: str) -> Response:
    kind, body = told(request.scope, status, message)
    return Response(body, status, media_type=kind)


async def _fault(request: Request, error: Exception) -> Response:
    log.error("request %s failed", request.url.path, exc_info=error)
    return JSONResponse({"error": "that failed for a reason which the server's log tells. Nothing was changed."}, 500)


async def finished(future: Future[Any]) -> Any:
    """Wait for the worker without holding up other requests."""
    return await asyncio.shield(asyncio.wrap_future(future))  # a page that leaves takes no command with it


def _page_routes(server: FastAPI) -> None:
    files = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}  # fixed: no path reaches the disk

    @server.get("/")
    async def page() -> Response:
        return FileResponse(files["index.html"], media_type="text/html", headers={"cache-control": "no-cache"})

    @server.get("/static/{name}")
    async def static(name: str) -> Response:
        path = files.get(name)
        if path is None:
            return JSONResponse({"error": "there is no such file."}, 404)
        return FileResponse(path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})


def _state_routes(server: FastAPI, application: Application) -> None:
    @server.get("/api/state")
    def state() -> Response:
        return JSONResponse(application.describe())

    @server.get("/api/scores")
    def scores() -> Response:
        return JSONResponse(application.scores())

    @server.get("/api/annotations/{frame}")
    def annotations(frame: int) -> Response:
        return JSONResponse(application.given_marks(frame))

    @server.get("/api/folders")
    def folders(path: str | None = None) -> Response:
        return JSONResponse(application.list_folder(path))

    @server.get("/api/events")
    async def events() -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(application.hub.listen(), media_type="text/event-stream", headers=headers)


def _picture_routes(server: FastAPI, application: Application) -> None:
    # The page puts the opening's fingerprint into the address (v), so a picture never changes under its address.
    forever = {"cache-control": "private, max-age=86400, immutable"}

    def pictures_of(fingerprint: str | None) -> Pictures:
        """Those of the open video.  Raises `Conflict` if the page asks for another's: it would keep what it gets."""
        video = application.opened()
        if fingerprint not in (None, video.fingerprint):
            raise Conflict("another video was opened.")
        return video.pictures

    @server.get("/api/frames/{frame}")
    def frame_picture(frame: int, v: str | None = None) -> Response:
        return Response(pictures_of(v).frame(frame), media_type="image/jpeg", headers=forever)

    @server.get("/api/thumbnails/{frame}")
    def thumbnail(frame: int, v: str | None = None) -> Response:
        return Response(pictures_of(v).thumbnail(frame), media_type="image/jpeg", headers=forever)

    @server.get("/api/masks/{frame}")
    def mask(request: Request, frame: int, height: int | None = None) -> Response:
        video = application.opened()
        version = (video.controller.session_token, frame, video.controller.version(frame))
        tag = '"' + hashlib.sha256(repr((version, height)).encode()).hexdigest()[:24] + '"'
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        height = None if height is None else min(max(height, 16), 4320)
        data = video.pictures.mask(version, lambda: video.controller.mask(frame), height=height)
        headers["content-encoding"] = "deflate"
        return Response(data, media_type="application/octet-stream", headers=headers)

    @server.get("/api/truth/{frame}")
    def truth(frame: int) -> Response:
        mask = application.truth(frame)
        data = application.opened().pictures.mask(("truth", frame), lambda: mask)
        headers = {"content-encoding": "deflate", "cache-control": "no-store"}
        return Response(data, media_type="application/octet-stream", headers=headers)


def _command_routes(server: FastAPI, application: Application) -> None:
    def route(path: str) -> Callable[[Callable[..., Awaitable[Any]]], Any]:
        return server.post(path, response_class=JSONResponse)

    @route("/api/commands/run")
    async def run(request: Request) -> Any:
        return await finished(application.run(await read_json(request)))

    @route("/api/commands/{name}")
    async def command(request: Request, name: str) -> Any:
        return await finished(application.command(name, await read_json(request)))

    @route("/api/study/start")
    async def start_study(request: Request) -> Any:
        return await finished(application.start_study(await read_json(request)))

    @route("/api/study/finish")
    async def finish_study(request: Request) -> Any:
        return await finished(application.finish_study(await read_json(request)))

    @route("/api/cancel")
    async def cancel() -> Any:
        application.cancel()
        return {}

    @route("/api/open")
    async def open_video(request: Request) -> Any:
        payload = await read_json(request)
        return await finished(await run_in_threadpool(application.open_from_page, payload.get("path")))
