"""An arm locates a block with a camera, grasps it and places it at a goal."""

from launch import LaunchDescription

from invdyn_ros.nodes.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; invdyn_ros/graph defines its nodes and arguments."""
    return launch_description("grasp_sim")
