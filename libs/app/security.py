"""Who may talk to the server: one middleware in front of everything, and one rule for file paths.

A page in any browser tab can send requests to a local server, so "it listens on 127.0.0.1" is no protection by itself:
the Host header tells DNS rebinding, the Origin header (and Sec-Fetch-Site) tells requests of other sites.
"""

from __future__ import annotations

import contextlib
import hmac
import html
import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from dataset_torch.errors import UserError

Send = Callable[[dict], Awaitable[None]]
Receive = Callable[[], Awaitable[dict]]

MIN_TOKEN = 16
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:[0-9]{1,5})?")
SMALL_BODY = 8 << 20  # bytes of a request that uploads no file; a very long stroke has 1 MB
UPLOADS = "/api/upload/"
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

# Without a style sheet: whoever sees this may not be let to one.
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="dark light">'
    "<title>GIS: {status}</title><h1>GIS: guided video segmentation</h1><p>{words}</p></html>"
)


@dataclass(frozen=True)
class Refusal:
    """Why a request is not served."""

    status: int
    message: str


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine only."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


class Access:
    """The rules for one server."""

    def __init__(self, host: str, port: int, *, token: str | None = None, allowed_hosts: Sequence[str] = ()):
        """`token` `None`: none is demanded on a loopback address, and a random one is made for any other."""
        self.host, self.port = host, port
        self.names = {name.lower() for name in allowed_hosts}
        self.names |= {"localhost", "127.0.0.1", "::1", host.lower().strip("[]")}
        self.any_address = False
        if not is_loopback(host):
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
            # Rebinding needs a name, so a bare address in the Host header is no danger.
            self.any_address = True
            token = token or secrets.token_urlsafe(32)
        if token is not None and len(token) < MIN_TOKEN:
            raise UserError(f"the token is too short to be safe: give at least {MIN_TOKEN} characters, or none at all.")
        self.token = token
        self.cookie = f"gis_token_{port}"  # cookies do not tell ports apart

    def good_token(self, given: str | None) -> bool:
        """Compare in constant time."""
        if self.token is None:
            return True
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def good_host(self, host: str) -> bool:
        """Whether a Host header names this server (any port: it may be reached through a tunnel)."""
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match["name"].strip("[]")
        return name in self.names or (self.any_address and _address(name) is not None)

    def refuse(self, scope: dict) -> Refusal | None:
        """Why this request is refused, or `None`."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name in headers and name in ("host", "origin"):
                return Refusal(400, f"more than one {name} header.")
            headers[name] = value
        if not self.good_host(headers.get("host", "")):
            return Refusal(
                403,
                f"this server does not answer to the name {headers.get('host', '')[:100]!r}. Open it by the address it "
                "printed at its start, or start it with --allowed-hosts NAME.",
            )
        origin = headers.get("origin")
        if origin is not None and not self._same_origin(origin, headers["host"]):
            return Refusal(403, "requests from other web sites are refused.")
        opens_page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opens_page:
            return Refusal(403, "requests from other web sites are refused.")
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            kind = headers.get("content-type", "")
            wanted = "multipart/form-data" if scope["path"].startswith(UPLOADS) else "application/json"
            if not kind.startswith(wanted):
                return Refusal(415, f"the request's content type must be {wanted}.")
        if not self.good_token(self._given_token(headers, scope if opens_page else None)):
            return Refusal(401, "a token is needed: open the address that the server printed at its start.")
        return None

    def _same_origin(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def _given_token(self, headers: dict[str, str], scope: dict | None) -> str | None:
        """The token of the Authorization header, the cookie, or (first visit of the page only) the address."""
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return value.strip()
        if scope is not None and (given := query_token(scope)) is not None:
            return given
        # Not http.cookies: it gives up on all cookies when another program on this host has set an odd one.
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                return unquote(value.strip('"'))
        return None


def query_token(scope: dict) -> str | None:
    """The token in the address, if there is one."""
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
    return given[0] if given else None


class Guard:
    """ASGI middleware: refuses by `Access`, limits the size of bodies, and adds the headers that browsers obey."""

    def __init__(self, app: Callable[..., Awaitable[None]], access: Access, *, upload_limit: int):
        self.app, self.access, self.upload_limit = app, access, upload_limit

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the app has none; whoever tries is refused like anybody else
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self.access.refuse(scope)
        limit = self.upload_limit if scope["path"].startswith(UPLOADS) else SMALL_BODY
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if refusal is None and (not length.isdigit() or int(length) > limit):
            refusal = _too_large(limit)
        if refusal is not None:
            await _answer(scope, send, refusal)
            return
        if self.access.token is not None and scope["path"] == "/" and query_token(scope) is not None:
            await self._take_cookie(send)
            return
        await self._limited(scope, receive, send, limit)

    async def _take_cookie(self, send: Send) -> None:
        """Put the token into a cookie and out of the address, so that it is in no history and no Referer."""
        cookie = f"{self.access.cookie}={quote(self.access.token, safe='')}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), *HEADERS]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _limited(self, scope: dict, receive: Receive, send: Send, limit: int) -> None:
        taken, started = 0, False

        async def counted() -> dict:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:  # a body without, or with a wrong, Content-Length
                raise _TooLarge
            return message

        async def dressed(message: dict) -> None:
            nonlocal started
            if taken > limit and not started:
                return  # whatever the application made of its failed reading
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        with contextlib.suppress(_TooLarge):
            await self.app(scope, counted, dressed)
        if taken > limit and not started:
            await _answer(scope, send, _too_large(limit))


class _TooLarge(Exception):
    pass


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"that is larger than {limit >> 20} MB. --upload-limit-mb sets the limit for files.")


async def _answer(scope: dict, send: Send, refusal: Refusal) -> None:
    kind, body = told(scope, refusal.status, refusal.message)
    headers = [(b"content-type", kind.encode()), (b"connection", b"close"), *HEADERS]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def told(scope: dict, status: int, message: str) -> tuple[str, bytes]:
    """An error as content type and body: a page for somebody who typed an address, JSON for a program."""
    accepted = dict(scope["headers"]).get(b"accept", b"")
    if b"text/html" not in accepted:
        return "application/json", json.dumps({"error": message}).encode()
    words = html.escape(message[:1].upper() + message[1:])
    return "text/html; charset=utf-8", _PAGE.format(status=status, words=words).encode()


class Forbidden(UserError):
    """A path outside the folders that the server was given."""


class Folders:
    """The folders that the page may see.  Paths are judged by where they lead, after `..` and symbolic links."""

    def __init__(self, roots: Sequence[str | Path]):
        given = tuple(dict.fromkeys(Path(root).resolve() for root in roots))
        self.roots = tuple(root for root in given if not any(other in root.parents for other in given))

    def allow(self, path: str | Path) -> Path:
        """The real path.  Raises `Forbidden` when it is not below one of the folders (whether it exists or not)."""
        try:
            real = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):  # a loop of links, a null character
            real = None
        if real is None or not any(real == root or root in real.parents for root in self.roots):
            raise Forbidden(f"{str(path)[:200]!r} is outside the folders this server was given (--folders).")
        return real

    def contains(self, path: str | Path) -> bool:
        """Whether `allow` would allow it."""
        try:
            self.allow(path)
        except Forbidden:
            return False
        return True
