"""Worker processes end with the process that started them."""

import os
import signal
import subprocess
import sys

from test_processes import has_ended

SCRIPT = """
import os, time
from invdyn_ros.workers import parallel_map

def job(seconds):
    os.write(1, f"{os.getpid()}\\n".encode())  # at once; those of print mix
    time.sleep(seconds)

if __name__ == "__main__":
    list(parallel_map(job, [600.0, 600.0], 2))
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "jobs.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert all(has_ended(worker) for worker in workers)
