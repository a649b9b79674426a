"""Names of topics and services, relative to the namespace of a graph.

Nodes pass them to rclpy, which expands and remaps them; so does `Node.resolve_topic_name` where a
full name is needed. Topics and services of the node `inverse_dynamics` are private to it, and have
its name before theirs.
"""

from __future__ import annotations

JOINT_STATES = "joint_states"
JOINT_TARGET = "joint_target"
DESIRED_JOINT_STATE = "inverse_dynamics/desired_joint_state"
TRANSITIONS = "inverse_dynamics/transition_event"  # of the lifecycle of the node
ENGAGE, STOP = "inverse_dynamics/engage", "inverse_dynamics/stop"
COMMANDS = {
    "N m": "forward_effort_controller/commands",
    "rad": "forward_position_controller/commands",
}
"""Command topics of the real drivers by the unit of the action."""
GRIPPER_COMMAND = "gripper/command"
IMAGE, CAMERA_INFO = "camera/image_raw", "camera/camera_info"
COMPRESSED_IMAGE = f"{IMAGE}/compressed"  # named as image_transport does
EPISODE = "grasp/episode"
LANDMARKS, POSE_OVERLAY = "pose/landmarks", "pose/overlay"
LEFT_HAND, RIGHT_HAND = "pose/left_hand", "pose/right_hand"
MARKERS, BLOCKS_OVERLAY = "blocks/markers", "blocks/overlay"
OBJECTS, RESET, PAUSE, PUSH = "sim/objects", "sim/reset", "sim/pause", "sim/push"
ROBOT_DESCRIPTION = "robot_description"
CLOCK, TIMING, REPORT_READY = "clock", "timing", "report/ready"
ECHO_JOINTS, ECHO_COMMANDS = "echo/joint_states", "echo/commands"
"""Of the benchmark of the latency only."""
DIAGNOSTICS = "/diagnostics"
"""One topic for all nodes of a system; the names of the statuses have the namespace."""


TF, TF_STATIC = "/tf", "/tf_static"
"""One tree of frames for all nodes of a system; the names of the frames have the prefix."""


def block_topic(index: int | str) -> str:
    """Return the topic of the pose of a block."""
    return f"blocks/block_{index}"
