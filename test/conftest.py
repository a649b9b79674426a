"""Keep the tests to this machine and to themselves: own DDS domain, one thread per process."""

import os
import tempfile

import pytest
from domain import claim

DOMAIN, KEPT = claim(os.getpid())  # kept until this process ends, however it ends

# before anything imports rclpy or numpy; nodes that a test starts inherit it
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="invdyn_ros_log_"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

pytest.register_assert_rewrite("arm_limits")  # a failed check shows its values
