"""Keep the tests to this machine and to themselves: own DDS domain, one thread per process."""

import os
import tempfile
from functools import partial

import pytest
from domain import claim

DOMAIN, KEPT = claim(os.getpid())  # kept until this process ends, however it ends

# before anything imports rclpy or numpy; nodes that a test starts inherit it
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="invdyn_ros_log_"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# a failed check shows its values
pytest.register_assert_rewrite("arm_limits", "benchmark_report", "node_probe", "servo_board")


@pytest.fixture
def start_node():
    """Start a node in a thread; return a probe and the lists of messages that it receives."""
    from node_probe import node_starter  # needs ROS, which the other tests do without

    yield from node_starter()


@pytest.fixture
def run_until_error(monkeypatch, capfd):
    """Run a node as in its own process while others publish; return its error message."""
    from node_probe import run_until_error

    return partial(run_until_error, monkeypatch, capfd)
