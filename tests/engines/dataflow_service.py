"""A stand-in for Dataflow's REST service on 127.0.0.1: python dataflow_service.py PORT_FILE FOLDER.

It keeps each job request as FOLDER/job-N.json and executes the graph that was staged for it on Beam's local runner, in
a child process. A file FOLDER/hold keeps jobs waiting; FOLDER/fail lets them fail. Only what the client asks is there.
"""

import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

NOW = "2026-01-01T00:00:00Z"
JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs")
STATES = {4: "JOB_STATE_FAILED", 5: "JOB_STATE_CANCELLED"}
ENDED = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


def staged(url: str) -> None:
    """Run a staged graph here; called in a process of its own."""
    import fsspec
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability import python_urns
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    with fsspec.open(url, "rb") as stream:
        graph = beam_runner_api_pb2.Pipeline.FromString(stream.read())
    for environment in graph.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    FnApiRunner().run_via_runner_api(graph, PipelineOptions([])).wait_until_finish()


class Service(BaseHTTPRequestHandler):
    """Answers what Beam's client asks."""

    protocol_version = "HTTP/1.1"
    folder: Path
    jobs: ClassVar[dict[str, dict]] = {}

    def log_message(self, *_):
        """Say nothing."""

    def _reply(self, value: dict, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def _job(self) -> dict | None:
        return self.jobs.get(re.sub(r".*/jobs/|[/?].*", "", self.path.partition("/jobs/")[2]))

    def do_POST(self) -> None:
        """Take a job."""
        job = self._body()
        found = JOBS.match(self.path)
        if found is None:
            self._reply({"error": {"code": 404, "message": self.path}}, 404)
            return
        number = len(self.jobs) + 1
        (self.folder / f"job-{number}.json").write_text(json.dumps(job))
        job |= {"id": f"2026-01-01_00_00_00-{number}", "projectId": found[1], "location": found[2]}
        job |= {"currentState": "JOB_STATE_RUNNING", "currentStateTime": NOW, "createTime": NOW}
        self.jobs[job["id"]] = job
        threading.Thread(target=self._execute, args=(job,), daemon=True).start()
        self._reply(job)

    def _execute(self, job: dict) -> None:
        while (self.folder / "hold").exists():
            if job["currentState"] in ENDED:
                return
            time.sleep(0.1)
        if (self.folder / "fail").exists():
            job["currentState"] = "JOB_STATE_FAILED"
            return
        url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        command = [sys.executable, __file__, "staged", url]
        ended = subprocess.run(command, capture_output=True, check=False)
        (self.folder / f"{job['id']}.log").write_bytes(ended.stdout + ended.stderr)
        if job["currentState"] not in ENDED:
            job["currentState"] = "JOB_STATE_FAILED" if ended.returncode else "JOB_STATE_DONE"

    def do_PUT(self) -> None:
        """Cancel a job."""
        job = self._job()
        wanted = self._body()["requestedState"]  # by name, or by its number in the service's list
        job["currentState"] = STATES.get(wanted, wanted)
        self._reply(job)

    def do_GET(self) -> None:
        """Tell a job's state, messages or metrics."""
        job, path = self._job(), self.path.partition("?")[0]
        if job is None:
            self._reply({"error": {"code": 404, "message": self.path}}, 404)
        elif path.endswith("/messages"):
            text = {"messageText": "Workflow failed. Causes: a quota of the region", "time": NOW, "id": "1"}
            failed = job["currentState"] == "JOB_STATE_FAILED"
            self._reply({"jobMessages": [text | {"messageImportance": "JOB_MESSAGE_ERROR"}] if failed else []})
        elif path.endswith("/metrics"):
            self._reply({"metrics": [], "metricTime": NOW})
        else:
            self._reply(job)


def main(port_file: str, folder: str) -> None:
    """Serve until killed."""
    Service.folder = Path(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Path(port_file).write_text(str(server.server_address[1]))
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "staged":
        staged(sys.argv[2])
    else:
        main(*sys.argv[1:])
