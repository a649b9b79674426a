"""A small move of one joint of an arm that a running graph drives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invdyn_ros.graph.topics import DESIRED_JOINT_STATE, GRIPPER_COMMAND, JOINT_TARGET
from invdyn_ros.nodes.graph_client import TIMEOUT, GraphClient
from invdyn_ros.nodes.graph_status import read_graph_status

if TYPE_CHECKING:
    from sensor_msgs.msg import JointState

FIRST_TIMEOUT = 15.0  # [s] for a simulation to start
MAX_DURATION = 30.0  # [s] of a move
TOLERANCE = 1e-3  # [rad] of the plan at the goal
RESTING = 0.01  # [rad/s] of a plan at rest


def jog_joint(client: GraphClient, joint: str, distance: float) -> float:
    """Move one joint by a distance [rad] and return its planned position at the end [rad].

    Raises:
        ValueError: the arm is not driven, has no such joint, has targets of another node, or did
            not arrive.
    """
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    topic = client.name(JOINT_TARGET)
    # a graph without a policy starts when somebody commands the arm and its gripper
    publisher = client.node.create_publisher(JointTrajectory, topic, 10)
    client.node.create_publisher(Float64MultiArray, client.name(GRIPPER_COMMAND), 10)
    planned: list[JointState] = []
    client.node.create_subscription(
        JointState, client.name(DESIRED_JOINT_STATE), planned.append, QoSProfile(depth=10)
    )
    _wait(client, planned, joint, FIRST_TIMEOUT)
    names, goal = list(planned[-1].name), list(planned[-1].position)
    if client.node.count_publishers(topic) > 1:
        raise ValueError(
            f"another node publishes {topic}; jog an arm that 'invdyn launch grasp_sim "
            "policy:=none' drives"
        )
    index = names.index(joint)
    goal[index] += distance
    point = JointTrajectoryPoint(positions=goal)
    start = time.monotonic()
    while time.monotonic() - start < MAX_DURATION:
        state = planned[-1]
        publisher.publish(JointTrajectory(header=state.header, joint_names=names, points=[point]))
        planned.clear()
        _wait(client, planned, joint, TIMEOUT)
        state = planned[-1]
        rest = max(map(abs, state.velocity), default=0.0)
        if abs(state.position[index] - goal[index]) < TOLERANCE and rest < RESTING:
            break
    else:
        level, message = read_graph_status(client).nodes.get("inverse_dynamics", ("", ""))
        raise ValueError(
            f"'{joint}' is at {state.position[index]:.3f} rad after {MAX_DURATION:.0f} s, not at "
            f"{goal[index]:.3f}; inverse_dynamics: {level} {message}"
        )
    return float(state.position[index])


def _wait(client: GraphClient, planned: list[JointState], joint: str, timeout: float) -> None:
    """Wait for a planned state that has the joint, at most a timeout [s]."""
    start = time.monotonic()
    while not planned:
        if time.monotonic() - start > timeout:
            raise ValueError(
                f"no plan on {client.name(DESIRED_JOINT_STATE)} in domain {client.domain}: is the "
                "arm engaged? 'invdyn ping' says what the graph waits for"
            )
        client.spin_once(0.1)
    if joint not in planned[-1].name:
        raise ValueError(f"no joint '{joint}'; the arm has {', '.join(planned[-1].name)}")
