"""Every rule of the server's safety has a test here that fails without the rule."""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from config import Config
from dataset_torch.errors import UserError
from libs.app.application import Application
from libs.app.security import Access, Folders, Forbidden, Guard, is_loopback
from libs.app.server import create_server

TOKEN = "a token of some length"


def client_of(application: Application, access: Access, address: str) -> TestClient:
    guard = create_server(application, access)
    return TestClient(guard, base_url=address, raise_server_exceptions=False, follow_redirects=False)


# ---- address and token


def test_only_this_machine_is_listened_to_unless_asked():
    assert is_loopback(Config().host)
    assert Access(Config().host, 8000).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "some-server", "8.8.8.8"])
def test_any_other_address_demands_a_token(host):
    first, second = Access(host, 8000), Access(host, 8000)
    assert first.token is not None and len(first.token) >= 32 and first.token != second.token
    assert not first.good_token(None) and not first.good_token("") and first.good_token(first.token)


def test_a_short_token_is_refused():
    with pytest.raises(UserError, match="too short"):
        Access("127.0.0.1", 8000, token="1234")


def test_the_token_is_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(a, b):
        compared.append((a, b))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not Access("127.0.0.1", 8000, token=TOKEN).good_token(TOKEN)
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


def test_without_the_token_nothing_is_served(application):
    client = client_of(application, Access("0.0.0.0", 8000, token=TOKEN), "http://192.168.1.7:8000")
    for path in ("/", "/api/state", "/api/frames/0", "/static/main.js", "/api/events"):
        assert client.get(path).status_code == 401, path
    assert client.post("/api/commands/undo", json={}).status_code == 401
    wrong = client.get("/api/state", headers={"authorization": "Bearer " + TOKEN[:-1] + "x"})
    assert wrong.status_code == 401
    right = client.get("/api/state", headers={"authorization": "Bearer " + TOKEN})
    assert right.status_code == 200
    # In an address the token is taken by the page only, so that it gets into no log and no link.
    assert client.get("/api/state", params={"token": TOKEN}).status_code == 401


def test_the_first_visit_turns_the_token_into_a_cookie(application):
    client = client_of(application, Access("0.0.0.0", 8000, token=TOKEN), "http://192.168.1.7:8000")
    assert client.get("/", params={"token": "x" * 20}).status_code == 401
    answer = client.get("/", params={"token": TOKEN})
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=Strict" in answer.headers["set-cookie"]
    assert client.get("/api/state", headers={"cookie": f'gis_token_8000="{TOKEN}"'}).status_code == 200


@pytest.mark.parametrize("token", [TOKEN, "semicolon; and = äö %41", '"quoted token of some length"'])
def test_any_token_survives_the_way_through_address_and_cookie(application, token):
    client = client_of(application, Access("0.0.0.0", 8000, token=token), "http://192.168.1.7:8000")
    given = client.get("/", params={"token": token}).headers["set-cookie"].split(";")[0]
    client.cookies.clear()
    # Another program on this host may have set a cookie that is against all rules.
    cookie = {"cookie": f'odd={{"a": 1, [}}; {given}; x'}
    assert client.get("/api/state", headers=cookie).status_code == 200
    assert client.get("/api/state", headers={"cookie": given + "x"}).status_code == 401


# ---- host and origin


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.7", "", "localhost:x:y", "["])
def test_another_name_in_the_host_header_is_refused(client, host):
    assert client.get("/api/state", headers={"host": host}).status_code in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "localhost:9999", "LOCALHOST", "[::1]:8000"])
def test_the_names_of_this_machine_are_accepted(client, host):
    assert client.get("/api/state", headers={"host": host}).status_code == 200


def test_behind_another_address_bare_addresses_and_own_names_are_accepted(application):
    access = Access("0.0.0.0", 8000, token=TOKEN, allowed_hosts=["gpu7.lab"])
    assert access.good_host("10.1.2.3:8000") and access.good_host("gpu7.lab") and access.good_host("[2001:db8::1]:1")
    assert access.good_host(socket.gethostname())
    assert not access.good_host("evil.example") and not access.good_host("10.1.2.3.evil.example")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9000", "ftp://127.0.0.1:8000", "["]
)
def test_requests_of_other_sites_are_refused(client, origin):
    answer = client.post("/api/cancel", json={}, headers={"origin": origin})
    assert answer.status_code == 403 and "other web sites" in answer.json()["error"]
    assert client.get("/api/state", headers={"origin": origin}).status_code == 403


def test_requests_of_the_page_itself_are_accepted(client):
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/cancel", json={}, headers=headers).status_code == 200


def test_two_host_headers_are_refused(client):
    headers = [("host", "127.0.0.1:8000"), ("host", "evil.example")]
    assert client.get("/api/state", headers=headers).status_code == 400


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_cannot_be_embedded_by_other_sites(client, site):
    assert client.get("/api/frames/0", headers={"sec-fetch-site": site}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200  # a link to the page is fine


def test_a_form_of_another_site_cannot_send_a_command(client):
    # Browsers without Sec-Fetch-Site: a form can send these types without asking first, never application/json.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = client.post("/api/commands/undo", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8000"])
def test_web_sockets_are_refused(client, origin):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/events", headers={"origin": origin}):
        pass


def test_neither_page_nor_refusal_can_be_framed_and_only_its_own_scripts_run(client, application):
    answers = [client.get("/"), client.get("/api/state")]
    answers += [client.get("/", headers={"host": "evil.example", "accept": "text/html"})]
    answers += [client_of(application, Access("127.0.0.1", 8000, token=TOKEN), "http://127.0.0.1:8000").get("/")]
    assert [answer.status_code for answer in answers] == [200, 200, 403, 401]
    for headers in (answer.headers for answer in answers):
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


# ---- files


def test_paths_are_judged_by_where_they_lead(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "root-outside"
    (root / "inner").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (outside / "back").symlink_to(root / "inner")
    folders = Folders([root])
    assert folders.allow(root / "inner" / "..") == root
    assert folders.allow(outside / "back") == root / "inner"
    refused = [
        root / "..",
        root / "inner" / ".." / ".." / "root-outside",
        root / "link",
        root / "link" / "new",
        outside,
    ]
    refused += [Path("/"), Path("/etc/passwd"), root / "loop", Path("relative"), f"{root}/\0", "\\\\server\\share"]
    for path in refused:
        with pytest.raises(Forbidden):
            folders.allow(path)


@pytest.mark.parametrize("address", ["/api/folders", "/api/open"])
def test_the_page_sees_and_opens_only_what_is_below_the_folders(client, videos, tmp_path, address):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.png").write_bytes((videos / "squares" / "00000.png").read_bytes())
    (secret / "film.mp4").write_bytes(b"film")
    (videos / "link").symlink_to(secret)
    (videos / "film.mp4").symlink_to(secret / "film.mp4")
    elsewhere = (secret, secret / "film.mp4", videos / "film.mp4", videos / "link", f"{videos}/../secret", "/", "/etc")
    for path in elsewhere:
        if address == "/api/folders":
            answer = client.get(address, params={"path": str(path)})
        else:
            answer = client.post(address, json={"path": str(path)})
        assert answer.status_code == 403, path
        assert "outside the folders" in answer.json()["error"]
    names = [e["name"] for e in client.get("/api/folders", params={"path": str(videos)}).json()["entries"]]
    assert names == ["more", "squares"]  # neither the link nor the workspace


def test_a_frame_that_is_a_link_to_elsewhere_is_not_opened(client, videos, tmp_path):
    picture = tmp_path / "private.png"
    picture.write_bytes((videos / "more" / "00000.png").read_bytes())
    os.unlink(videos / "more" / "00001.png")
    (videos / "more" / "00001.png").symlink_to(picture)
    assert client.post("/api/open", json={"path": str(videos / "more")}).status_code == 403


@pytest.mark.parametrize(
    "path", ["..%2fserver.py", "%2e%2e%2fserver.py", "..\\server.py", "/etc/passwd", "x.js%00.html"]
)
def test_no_file_but_the_pages_own_is_served(client, path):
    assert client.get(f"/static/{path}").status_code in (403, 404)


# ---- size


def test_large_bodies_are_refused_whether_announced_or_not(application):
    application.settings = replace(application.settings, upload_bytes=10_000)
    client = client_of(application, Access("127.0.0.1", 8000), "http://127.0.0.1:8000")
    answer = client.post("/api/upload/mask?frame=0", files={"file": ("m.png", b"x" * 20_000)})
    assert answer.status_code == 413 and "larger than" in answer.json()["error"]

    def chunks():
        for _ in range(20):
            yield b"x" * 1000

    kind = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/api/upload/mask?frame=0", content=chunks(), headers=kind).status_code == 413
    lying = {**kind, "content-length": "minus one"}
    assert client.post("/api/upload/mask?frame=0", content=b"x", headers=lying).status_code == 413
    many = client.post("/api/commands/mark", content=b" " * (9 << 20), headers={"content-type": "application/json"})
    assert many.status_code == 413
    assert client.get("/api/state").status_code == 200


def test_reading_stops_where_the_limit_is():
    """A body that announces no length could go on for ever; it is not even taken in."""
    asked, sent = [], []

    async def receive() -> dict:
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": len(asked) < 1000}

    async def send(message: dict) -> None:
        sent.append(message)

    async def greedy(scope, receive, send) -> None:
        while (await receive())["more_body"]:
            pass

    scope = {"type": "http", "method": "POST", "path": "/api/upload/mask", "query_string": b""}
    scope["headers"] = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=b")]
    guard = Guard(greedy, Access("127.0.0.1", 8000), upload_limit=10_000)
    asyncio.run(guard(scope, receive, send))
    assert len(asked) == 11 and sent[0]["status"] == 413
