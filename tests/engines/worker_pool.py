"""Beam's external worker pool on loopback: python worker_pool.py PORTFILE [BOOT]. Beam's own listens on all interfaces.

Each worker that an engine asks for is a process of its own; with BOOT, a copy of the boot program that Beam's container
images have as /opt/apache/beam/boot, it is what a container would run.
"""

import atexit
import signal
import sys
import threading
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker import worker_pool_main
from apache_beam.utils import thread_pool_executor


def main(port_file: str, boot: str | None = None) -> None:
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    port = server.add_insecure_port("127.0.0.1:0")
    pool = worker_pool_main.BeamFnExternalWorkerPoolServicer(
        use_process=True, container_executable=boot, data_buffer_time_limit_ms=-1
    )
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.start()
    atexit.register(end_workers, pool)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    part = Path(f"{port_file}.part")
    part.write_text(str(port))
    part.replace(port_file)
    threading.Event().wait()


def end_workers(pool) -> None:
    for process in list(pool._worker_processes.values()):
        process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
