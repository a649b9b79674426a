"""Topics that describe a run: what its report and its recordings consist of."""

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from sensor_msgs.msg import JointState, PointCloud2, TimeReference
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.graph.topics import (
    BLOCKS_OVERLAY,
    DESIRED_JOINT_STATE,
    DIAGNOSTICS,
    GRIPPER_COMMAND,
    JOINT_STATES,
    JOINT_TARGET,
    LANDMARKS,
    OBJECTS,
    POSE_OVERLAY,
    TIMING,
    block_topic,
)

_ARM_TOPICS: dict[str, Any] = {
    JOINT_STATES: JointState,
    DESIRED_JOINT_STATE: JointState,
    JOINT_TARGET: JointTrajectory,
    DIAGNOSTICS: DiagnosticArray,
}
RUN_TOPICS: dict[str, dict[str, Any]] = {
    "teleop": {**_ARM_TOPICS, TIMING: TimeReference, LANDMARKS: PointCloud2},
    "grasp_sim": {
        **_ARM_TOPICS,
        OBJECTS: PoseArray,
        block_topic(0): PoseWithCovarianceStamped,
        GRIPPER_COMMAND: Float64MultiArray,
    },
}
"""Message type of each topic, by graph."""
OVERLAY_TOPICS = {"teleop": POSE_OVERLAY, "grasp_sim": BLOCKS_OVERLAY}
"""Topic of the images with what was detected, by graph; drawn only for a subscriber."""
