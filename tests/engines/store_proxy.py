"""An HTTP proxy on 127.0.0.1 before an emulated store: python store_proxy.py PORT_FILE HOST:PORT.

It counts what is asked and does what goes wrong on the way to real stores. GET /__told tells {"requests":
{kind: number}, "faults": number} and begins anew; PUT /__faults takes {"kinds": [...], "every": N}: each Nth request
fails, by one kind after the other. Kinds: an HTTP status, `cut` (half an answer, or none), `slow` (seconds late),
`stall` (later than a client waits).
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

OF_A_HOP = frozenset({"connection", "transfer-encoding"})
SIZE = {"content-length"}
SLOW, STALL = 1.5, 25.0
REASONS = {
    403: ("AccessDenied", "Access Denied"),
    429: ("TooManyRequests", "Too many requests"),
    500: ("InternalError", "We encountered an internal error"),
    503: ("SlowDown", "Please reduce your request rate"),
}


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on."""

    protocol_version = "HTTP/1.1"
    upstream: str
    lock = threading.Lock()
    requests: ClassVar[Counter] = Counter()
    faults: ClassVar[dict] = {"kinds": [], "every": 0, "seen": 0, "done": 0}

    def log_message(self, *_):
        """Say nothing."""

    def _answer(self, status: int, body: bytes, headers=()) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _control(self, body: bytes) -> None:
        with self.lock:
            if self.path == "/__faults":
                self.faults.update({"seen": 0, "done": 0}, **json.loads(body))
            told = {"requests": dict(self.requests), "faults": self.faults["done"]}
            self.requests.clear()
        self._answer(200, json.dumps(told).encode(), [("Content-Type", "application/json")])

    def _fault(self) -> str | int | None:
        with self.lock:
            listing = any(mark in self.path for mark in ("list-type=", "comp=list")) or "/o?" in self.path
            self.requests["LIST" if listing and self.command == "GET" else self.command] += 1
            faults = self.faults
            if not faults["every"]:
                return None
            faults["seen"] += 1
            if faults["seen"] % faults["every"]:
                return None
            kind = faults["kinds"][faults["done"] % len(faults["kinds"])]
            faults["done"] += 1
            return kind

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def handle_one(self) -> None:
        """Count, fail or hand on."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self._body()
        if self.path.startswith("/__"):
            self._control(body)
            return
        kind = self._fault()
        if isinstance(kind, int):
            code, text = REASONS[kind]
            told = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
            if "/storage/v1/" in self.path:
                told = json.dumps({"error": {"code": kind, "message": text}}).encode()
            self._answer(kind, told, [("Content-Type", "application/xml")])
            return
        if kind in ("slow", "stall"):
            time.sleep(SLOW if kind == "slow" else STALL)
        if kind == "cut" and self.command != "GET":
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection(self.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_A_HOP | {"expect"}}
        headers["Content-Length"] = str(len(body))
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        kept = [
            (name, value) for name, value in answer.getheaders() if name.lower() not in OF_A_HOP | {"content-length"}
        ]
        if self.command == "HEAD":
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() != "connection":
                    self.send_header(name, value)
            self.end_headers()
        elif kind == "cut":
            self.send_response(answer.status)
            for name, value in kept:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
        else:
            self._answer(answer.status, content, kept)
        upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_one


if __name__ == "__main__":
    Proxy.upstream = sys.argv[2]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    Path(sys.argv[1]).write_text(str(server.server_port))
    server.serve_forever()
