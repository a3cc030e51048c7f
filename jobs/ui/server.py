"""Serves the page of a run to this machine alone: on the loopback interface, to whoever has the token."""

import http.cookies
import http.server
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pydantic

from tamis.jobs.json_text import json_text
from tamis.jobs.report.page import library
from tamis.jobs.ui.store import Filters, Store, WhatIf
from tamis.schemas.errors import ConfigError, TamisError

__all__ = ["COOKIE", "Server"]

HOST = "127.0.0.1"
COOKIE = "tamis_token"
BODY = 1_000_000
"""Bytes of a request at most."""
_ASSETS = Path(__file__).parent / "assets"
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Server:
    """A server of one run.

    Args:
        store: the run.
        port: of the loopback interface; any free one if 0.
        token: what a visitor must bring; a new random one if None.

    Raises:
        ConfigError: if the port is taken.
    """

    def __init__(self, store: Store, port: int = 0, token: str | None = None):
        self.token = token or secrets.token_urlsafe(24)
        handler = type("_BoundHandler", (_Handler,), {"store": store, "token": self.token})
        try:
            self._server = http.server.ThreadingHTTPServer((HOST, port), handler)
        except OSError as error:
            msg = f"port {port} of {HOST} can't be had ({error.strerror}): give another --port"
            raise ConfigError(msg) from None
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def address(self, view: str = "") -> str:
        """Return the address to open, with the token and a view's state."""
        state = {key: values[0] for key, values in parse_qs(view.lstrip("?")).items()}
        return f"http://{HOST}:{self.port}/?{urlencode({**state, 'token': self.token})}"

    def serve(self) -> None:
        """Answer until `stop` is called."""
        self._server.serve_forever(poll_interval=0.2)

    def start(self) -> None:
        """Answer in a thread of its own."""
        threading.Thread(target=self.serve, name="ui", daemon=True).start()

    def stop(self) -> None:
        """Stop answering, and let the port go."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request; every one is refused that isn't of this page and this visitor."""

    store: Store
    token: str
    server: http.server.HTTPServer
    protocol_version = "HTTP/1.1"
    server_version = "tamis"
    sys_version = ""

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002
        """Say nothing: the terminal is the user's."""

    def do_GET(self) -> None:
        """Answer with the page and its files."""
        if not self._is_local():
            return
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/" and "token" in query:
            if not secrets.compare_digest(query.pop("token").encode(), self.token.encode()):
                self._refuse(403, "this address has another token: open the one that tamis ui printed")
                return
            # The token leaves the address, so that a copied one gives nothing away.
            self._answer(303, b"", "text/plain", {
                "Location": "/?" + urlencode(query) if query else "/",
                "Set-Cookie": f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/",
            })  # fmt: skip
            return
        if not self._is_known():
            return
        if parts.path in ("/vega.min.js", "/vega-lite.min.js"):
            self._answer(200, library(parts.path[1:]).encode(), "text/javascript")
        elif parts.path in _FILES:
            name, kind = _FILES[parts.path]
            self._answer(200, _asset(name), kind)
        else:
            self._refuse(404, "there is nothing here")

    def do_POST(self) -> None:
        """Answer a question of the page, in JSON."""
        if not self._is_local() or not self._is_known():
            return
        # A form or a script of another site can't send this without being asked.
        if (
            self.headers.get("Content-Type") != "application/json"
            or self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
        ):
            self._refuse(403, "only the page itself may ask")
            return
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= BODY:
            self._refuse(413, "the request is too long")
            return
        answer = _ANSWERS.get(self.path)
        if answer is None:
            self._refuse(404, "there is no such question")
            return
        try:
            asked = json.loads(self.rfile.read(length) or b"{}")
            told = answer(self.store, asked if isinstance(asked, dict) else {})
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            self._refuse(400, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
        except (TamisError, ValueError) as error:
            self._refuse(400, str(error))
        else:
            self._answer(200, json_text(told).encode(), "application/json")

    def _is_local(self) -> bool:
        """Refuse what was sent to another name: a page elsewhere whose name was pointed at this machine."""
        host, _, port = self.headers.get("Host", "").rpartition(":")
        if host in (HOST, "localhost") and port == str(self.server.server_port):
            return True
        self._refuse(403, "this page is for this machine alone")
        return False

    def _is_known(self) -> bool:
        cookies = http.cookies.SimpleCookie()
        try:
            cookies.load(self.headers.get("Cookie", ""))
        except http.cookies.CookieError:
            cookies.clear()
        brought = cookies[COOKIE].value if COOKIE in cookies else ""
        if secrets.compare_digest(brought.encode(), self.token.encode()):
            return True
        self._refuse(403, "open the address that tamis ui printed, with its token")
        return False

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True  # what was sent isn't read
        self._answer(status, json.dumps({"error": why}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str, more: Mapping[str, str] | None = None) -> None:
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **(more or {}),
        }
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@cache
def _asset(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()


_ANSWERS: Mapping[str, Callable[[Store, dict[str, Any]], Any]] = {
    "/api/overview": lambda store, _: store.overview(),
    "/api/documents": lambda store, asked: store.documents(Filters.model_validate(asked)),
    "/api/document": lambda store, asked: store.document(str(asked.get("doc_id", ""))),
    "/api/what_if": lambda store, asked: store.what_if(WhatIf.model_validate(asked)),
    "/api/sql": lambda store, asked: store.sql(str(asked.get("query", ""))),
    "/api/manifest": lambda store, _: store.manifest.model_dump(mode="json"),
}
