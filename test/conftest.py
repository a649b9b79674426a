"""Isolation of the tests: a DDS domain on this machine only, and one thread per process."""

import os
import tempfile
from functools import partial

import pytest
from browser import browser  # noqa: F401

from invdyn_ros.graph.ros_domain import own_domain

# set before rclpy or numpy is imported; inherited by the nodes that a test starts
os.environ["ROS_DOMAIN_ID"] = str(own_domain())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="invdyn_ros_log_"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# failed assertions of the helpers print their values
pytest.register_assert_rewrite("arm_limits", "benchmark_report", "node_probe", "servo_board")


@pytest.fixture
def start_node():
    """Start a node in a thread; return a probe and the lists of messages that it receives."""
    from node_probe import node_starter  # needs ROS; other tests do not

    yield from node_starter()


@pytest.fixture
def run_until_error(monkeypatch, capfd):
    """Run a node as in its own process until it fails; return its error message."""
    from node_probe import run_until_error

    return partial(run_until_error, monkeypatch, capfd)
