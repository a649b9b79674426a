"""An arm follows the arm of a person in front of a camera."""

from launch import LaunchDescription

from invdyn_ros.nodes.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Describe the graph; `invdyn_ros/graph/graph.py` says which nodes and arguments it has."""
    return launch_description("teleop")
