"""Topics that describe a run: what its report and its recordings consist of."""

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped, WrenchStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, JointState, PointCloud2, TimeReference
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.graph.topics import (
    BLOCKS_OVERLAY,
    CAMERA_INFO,
    CLOCK,
    COMMANDS,
    DESIRED_JOINT_STATE,
    DIAGNOSTICS,
    EPISODE,
    GRIPPER_COMMAND,
    JOINT_STATES,
    JOINT_TARGET,
    LANDMARKS,
    LEFT_HAND,
    OBJECTS,
    POSE_OVERLAY,
    PUSH,
    RIGHT_HAND,
    ROBOT_DESCRIPTION,
    TF,
    TF_STATIC,
    TIMING,
    block_topic,
)
from invdyn_ros.nodes.frames import TFMessage
from invdyn_ros.robots.scene import Scene

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
        GRIPPER_COMMAND: Float64MultiArray,
        EPISODE: DiagnosticArray,
    },
    "play_motion": {
        JOINT_STATES: JointState,
        JOINT_TARGET: JointTrajectory,
        DESIRED_JOINT_STATE: JointState,
    },
    "gravity_compensation": {
        JOINT_STATES: JointState,
        DESIRED_JOINT_STATE: JointState,
        DIAGNOSTICS: DiagnosticArray,
        PUSH: WrenchStamped,
    },
}
"""Message type of each topic, by graph; grasp_sim has one topic per block."""
BLOCK_TOPICS: dict[str, Any] = {OBJECTS: PoseArray, GRIPPER_COMMAND: Float64MultiArray}
"""Message type of each topic that teleop has, too, with simulated blocks."""
BAG_TOPICS: dict[str, Any] = {
    **dict.fromkeys(COMMANDS.values(), Float64MultiArray),
    CLOCK: Clock,
    CAMERA_INFO: CameraInfo,
    ROBOT_DESCRIPTION: String,
    **dict.fromkeys((LEFT_HAND, RIGHT_HAND), PointCloud2),
    **({} if TFMessage is None else {TF: TFMessage, TF_STATIC: TFMessage}),
}
"""Message type of each topic that recordings have, too, if somebody publishes on it."""
OPTIONAL_TOPICS = (EPISODE,)
"""Topics of a graph that nobody publishes on in some of its runs, as without a policy."""
LATCHED_TOPICS = (ROBOT_DESCRIPTION, TF_STATIC, EPISODE)
"""Topics whose last message later subscribers get, too."""
OVERLAY_TOPICS = {"teleop": POSE_OVERLAY, "grasp_sim": BLOCKS_OVERLAY}
"""Topic of the images with what was detected, by graph; drawn only for a subscriber."""


def run_topics(graph: str, scene: Scene | None = None) -> dict[str, Any]:
    """Return the message type of each topic that describes a run.

    Args:
        graph: name of the graph.
        scene: blocks of grasp_sim, or of teleop, where nothing detects them; None without blocks.
    """
    if scene is None:
        return RUN_TOPICS[graph]
    if graph == "teleop":
        return RUN_TOPICS[graph] | BLOCK_TOPICS
    blocks = range(max(scene.num_blocks, 1))
    poses = {block_topic(block): PoseWithCovarianceStamped for block in blocks}
    return RUN_TOPICS[graph] | poses
