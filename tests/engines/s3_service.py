"""S3 by moto on 127.0.0.1: python s3_service.py PORT_FILE; GET /requests tells {method: number} and resets it."""

import json
import sys
from collections import Counter
from pathlib import Path

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

COUNT: Counter[str] = Counter()


def counted(inner):
    """Wrap an application."""

    def answer(asked, start):
        if asked["PATH_INFO"] == "/requests":
            told = json.dumps(COUNT).encode()
            COUNT.clear()
            start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(told)))])
            return [told]
        listing = "list-type" in asked.get("QUERY_STRING", "")
        COUNT["LIST" if listing else asked["REQUEST_METHOD"]] += 1
        return inner(asked, start)

    return answer


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, counted(DomainDispatcherApplication(create_backend_app)), threaded=True)
    Path(sys.argv[1]).write_text(str(server.server_port))
    server.serve_forever()
