"""Keep the tests to this machine and to themselves: own DDS domain, one thread per process."""

import os
import tempfile

# before anything imports rclpy or numpy; nodes that a test starts inherit it
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # above 101 ports meet ephemeral ones
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="invdyn_ros_log_"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
