"""Jobs of workers: they end with their parent, and are done again if a worker is killed."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from test_processes import has_ended

from invdyn_ros import dask_cluster
from invdyn_ros.workers import LocalProcesses, WorkerOptions, parallel_map

SCRIPT = """
import os, time
from invdyn_ros import workers
from invdyn_ros.workers import LocalProcesses, parallel_map

def job(seconds):
    os.write(1, f"{os.getpid()}\\n".encode())  # at once; those of print mix
    time.sleep(seconds)

if __name__ == "__main__":
    list(parallel_map(job, [600.0, 600.0], LocalProcesses(2)))
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "jobs.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert all(has_ended(worker) for worker in workers)


def square(job):
    """Return the square of a number; the first time, the third job kills its worker."""
    number, folder = job
    mark = folder / "killed"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "cluster"])
def test_jobs_of_a_killed_worker_are_done_again(kind, tmp_path):
    jobs = [(k, tmp_path) for k in range(8)]
    if kind == "processes":
        results = list(parallel_map(square, jobs, LocalProcesses(2)))
    else:
        distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is missing")
        with (
            distributed.LocalCluster(n_workers=2, dashboard_address=None) as cluster,
            WorkerOptions(scheduler=cluster.scheduler_address).executor() as executor,
        ):
            results = list(parallel_map(square, jobs, executor))
    assert (tmp_path / "killed").exists()
    assert results == [k**2 for k in range(8)]


def test_worker_that_always_dies_and_absent_clusters_are_one_line():
    with pytest.raises(ChildProcessError, match=r"killed 3 times .*; give fewer --workers"):
        list(parallel_map(os._exit, [9, 9], LocalProcesses(2)))
    for address in ("tcp://127.0.0.1:9", "localhost", "http://localhost:8786", ""):
        options = WorkerOptions(scheduler=address)
        with (
            pytest.raises(ValueError, match=r"no dask scheduler .*'dask scheduler'"),
            options.executor(),
        ):
            pass
    options = WorkerOptions(scheduler="tcp://127.0.0.1:9", workers=2)
    with pytest.raises(ValueError, match="leave out --workers"), options.executor():
        pass


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_program_that_is_no_scheduler_is_one_line(greeting, monkeypatch):
    pytest.importorskip("distributed", reason="the extra 'cluster' is missing")
    monkeypatch.setattr(dask_cluster, "CONNECT_TIMEOUT", 1.0)
    connections = []

    def serve():
        while True:
            try:
                connections.append(server.accept()[0])
                connections[-1].sendall(greeting)
            except OSError:  # closed, at the end
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        match = r"no dask scheduler .*does not speak its protocol.*'dask scheduler'"
        with pytest.raises(ValueError, match=match), WorkerOptions(scheduler=address).executor():
            pass
