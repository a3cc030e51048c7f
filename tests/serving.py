"""Servers on the loopback address, for tests of inputs by HTTP."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["five_lines", "serving"]


@contextmanager
def serving(kind: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve by a handler while the block runs; yield the address without its scheme."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def five_lines(word: str) -> bytes:
    """Return a JSONL file of five records whose texts begin with a word."""
    return b"".join(json.dumps({"id": str(n), "text": f"{word} {n}"}).encode() + b"\n" for n in range(5))
