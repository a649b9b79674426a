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
GRIPPER_TIME, GRIPPER_PERIOD = 2.0, 0.05  # [s] of commands, and between two
RESTING = 0.01  # [rad/s] of a plan at rest


class JointJog:
    """Targets for the arm of a graph that gets no others."""

    def __init__(self, client: GraphClient) -> None:
        """Announce targets, for which a graph without a policy waits."""
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray
        from trajectory_msgs.msg import JointTrajectory

        self._client, self._topic, node = client, client.name(JOINT_TARGET), client.node
        self._publisher = node.create_publisher(JointTrajectory, self._topic, 10)
        self._opening_type = Float64MultiArray
        self._gripper = node.create_publisher(Float64MultiArray, client.name(GRIPPER_COMMAND), 10)
        self._planned: list[JointState] = []
        topic = client.name(DESIRED_JOINT_STATE)
        node.create_subscription(JointState, topic, self._planned.append, QoSProfile(depth=10))

    def move(self, joint: str, distance: float) -> float:
        """Move one joint by a distance [rad] and return its planned position at the end [rad].

        Raises:
            ValueError: the arm is not driven, has no such joint, has targets of another node, or
                did not arrive.
        """
        state = self._next_plan(FIRST_TIMEOUT)
        if joint not in state.name:
            raise ValueError(f"no joint '{joint}'; the arm has {', '.join(state.name)}")
        if self._client.node.count_publishers(self._topic) > 1:
            raise ValueError(
                f"another node publishes {self._topic}; jog an arm that 'invdyn launch grasp_sim "
                "policy:=none' drives"
            )
        index, goal = list(state.name).index(joint), list(state.position)
        goal[index] += distance
        start = time.monotonic()
        while time.monotonic() - start < MAX_DURATION:
            self._publish(state, goal)
            state = self._next_plan(TIMEOUT)
            rest = max(map(abs, state.velocity), default=0.0)
            if abs(state.position[index] - goal[index]) < TOLERANCE and rest < RESTING:
                return float(state.position[index])
        level, message = read_graph_status(self._client).nodes.get("inverse_dynamics", ("", ""))
        raise ValueError(
            f"'{joint}' is at {state.position[index]:.3f} rad after {MAX_DURATION:.0f} s, not at "
            f"{goal[index]:.3f}; inverse_dynamics: {level} {message}"
        )

    def open_gripper(self, opening: float) -> None:
        """Command an opening of the gripper [m], for as long as it may need to get there.

        Raises:
            ValueError: the opening is negative, or no gripper listens.
        """
        if opening < 0:
            raise ValueError(f"gripper {opening} m: an opening is not negative")
        start, publisher = time.monotonic(), self._gripper
        while not publisher.get_subscription_count() and time.monotonic() - start < TIMEOUT:
            self._client.spin(GRIPPER_PERIOD)
        if not publisher.get_subscription_count():
            raise ValueError(
                f"no gripper listens on {publisher.topic_name} in domain {self._client.domain}"
            )
        for _ in range(round(GRIPPER_TIME / GRIPPER_PERIOD)):
            publisher.publish(self._opening_type(data=[opening]))
            self._client.spin(GRIPPER_PERIOD)

    def _publish(self, state: JointState, goal: list[float]) -> None:
        """Publish a goal (n,) [rad] as the target for a planned state."""
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

        point = JointTrajectoryPoint(positions=goal)
        self._publisher.publish(
            JointTrajectory(header=state.header, joint_names=state.name, points=[point])
        )

    def _next_plan(self, timeout: float) -> JointState:
        """Return the next planned state of the arm, which comes within a timeout [s]."""
        self._planned.clear()
        start = time.monotonic()
        while not self._planned:
            if time.monotonic() - start > timeout:
                raise ValueError(
                    f"no plan on {self._client.name(DESIRED_JOINT_STATE)} in domain "
                    f"{self._client.domain}: is the arm engaged? 'invdyn ping' says what the "
                    "graph waits for"
                )
            self._client.spin_once(0.1)
        return self._planned[-1]
