"""Topics that describe a run: what its report and its recordings consist of."""

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from sensor_msgs.msg import JointState, PointCloud2, TimeReference
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

_ARM_TOPICS: dict[str, Any] = {
    "/joint_states": JointState,
    "/inverse_dynamics/desired_joint_state": JointState,
    "/joint_target": JointTrajectory,
    "/diagnostics": DiagnosticArray,
}
RUN_TOPICS: dict[str, dict[str, Any]] = {
    "teleop": {**_ARM_TOPICS, "/timing": TimeReference, "/pose/landmarks": PointCloud2},
    "grasp_sim": {
        **_ARM_TOPICS,
        "/sim/objects": PoseArray,
        "/blocks/block_0": PoseWithCovarianceStamped,
        "/gripper/command": Float64MultiArray,
    },
}
"""Message type of each topic, by graph."""
OVERLAY_TOPICS = {"teleop": "/pose/overlay", "grasp_sim": "/blocks/overlay"}
"""Topic of the images with what was detected, by graph; drawn only for a subscriber."""
