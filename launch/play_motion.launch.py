"""An arm follows the motion of a file, and a dataset of it is written."""

from launch import LaunchDescription

from invdyn_ros.nodes.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; invdyn_ros/graph defines its nodes and arguments."""
    return launch_description("play_motion")
