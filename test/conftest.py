"""Isolation of the tests: a DDS domain on this machine only, and one thread per process."""

import gc
import os
import signal
import sys
import tempfile
from collections import Counter
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


def pytest_collection_modifyitems(items):
    """Run the files with the most slow tests first, so that parallel processes end together."""
    num_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -num_slow[item.path])  # stable within a file


def pytest_collection_finish():
    """Exempt what is imported from garbage collection, which tests of nodes call often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def short_drive_check(request):
    """Shorten the check at the end of every training, except in its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        is_tested = request.path.stem == "test_drive_check"
        if "invdyn_ros.training.rollouts" in sys.modules and not is_tested:
            patch.setattr("invdyn_ros.training.rollouts.SECONDS", 0.1)
            patch.setattr("invdyn_ros.training.rollouts.COUNT", 1)
            patch.setattr("invdyn_ros.training.reference_body.MAX_ROWS", 400)
            patch.setattr("invdyn_ros.training.inertia_check.MAX_STATES", 50)
        yield


@pytest.fixture
def start_node():
    """Start a node in a thread; return a probe and the lists of messages that it receives."""
    from node_probe import node_starter  # needs ROS; other tests do not

    yield from node_starter()


@pytest.fixture
def own_signal_handlers():
    """Restore the handlers of signals, which a node sets."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run_until_error(monkeypatch, capfd, own_signal_handlers):
    """Run a node as in its own process until it fails; return its error message."""
    from node_probe import run_until_error

    return partial(run_until_error, monkeypatch, capfd)
