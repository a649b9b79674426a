"""An arm finds a block with its camera, grasps it and carries it to its goal."""

from launch import LaunchDescription

from invdyn_ros.nodes.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Describe the graph; `invdyn_ros/graph/graph.py` says which nodes and arguments it has."""
    return launch_description("grasp_sim")
