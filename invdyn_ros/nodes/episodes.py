"""Episodes of the grasp node: their results, and on a real arm the person between them."""

from __future__ import annotations

import math
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import State as LifecycleState
from lifecycle_msgs.msg import TransitionEvent
from std_srvs.srv import SetBool

from invdyn_ros.graph.names import option_of_namespace
from invdyn_ros.graph.topics import ENGAGE, EPISODE, TRANSITIONS
from invdyn_ros.grasp.estimation.block_estimate import ImageDetections
from invdyn_ros.grasp.policies.episode_monitor import EpisodeMonitor, EpisodeOutcome
from invdyn_ros.grasp.policies.follow_check import NOT_FOLLOWED
from invdyn_ros.grasp.policies.grasp_command import GraspCommand
from invdyn_ros.nodes.frames import LATCHED_QOS
from invdyn_ros.nodes.joint_states import ArmState
from invdyn_ros.nodes.messages import EPISODE_RUNNING, to_stamp
from invdyn_ros.nodes.runner import DiagnosticNode

MAX_WAIT = 15.0  # [s] for an engaged arm that does not follow
STUCK = f"gave up: the arm did not follow for {MAX_WAIT:.0f} s"


class Episodes:
    """Publishes the start and the result of each episode.

    The simulator starts its episodes itself. A real arm is disengaged at the end of an episode, so
    that a person may reach in; the next one starts when it is engaged again.

    Attributes:
        number: number of the present episode, from 1.
        is_over: whether it has its result.
    """

    def __init__(
        self,
        node: DiagnosticNode,
        monitor: EpisodeMonitor,
        is_real: bool,
        start: Callable[[], None],
    ) -> None:
        """Create the topic.

        Args:
            node: the grasp node.
            monitor: judges the episodes.
            is_real: whether a person resets the arm's table.
            start: called when the next episode of a real arm starts.
        """
        self.node, self.monitor, self.is_real, self.start = node, monitor, is_real, start
        self.number, self.is_over, self.is_announced = 0, False, False
        self._is_engaged = False
        self._waiting_since: float | None = None  # [s] of an arm that does not follow
        self.publisher = node.create_publisher(DiagnosticArray, EPISODE, LATCHED_QOS)
        command = f"invdyn engage{option_of_namespace(node.get_namespace())}"
        self.request = f"move the block to a new place, then '{command}'"
        if is_real:
            self.engage_client = node.create_client(SetBool, ENGAGE)
            node.create_subscription(TransitionEvent, TRANSITIONS, self.on_transition, 10)

    def reset(self) -> None:
        """Start an episode."""
        self.number += 1
        self.is_over = self.is_announced = False
        self._waiting_since = None
        self.monitor.reset()

    @property
    def hold_reason(self) -> str | None:
        """What a person has to do; None if nothing."""
        return self.request if self.is_over and self.is_real else self.monitor.hold_reason

    def takes(self, image: ImageDetections) -> bool:
        """Note an image; return whether the policy may act on it."""
        if self.is_real and not self.monitor.starts(image):
            return False
        self.monitor.on_image(image)
        return True

    def update(self, state: ArmState, command: GraspCommand) -> None:
        """Publish the start of the episode, or its result once the policy is done."""
        if not self.is_announced:
            self.is_announced = True
            self.publish(state.stamp, DiagnosticStatus.OK, EPISODE_RUNNING)
        now = state.stamp * 1e-9
        result = self.monitor.update(now, state.q, state.opening, command) or self._stuck(
            now, command
        )
        if result is not None and not self.is_over:
            self.is_over = True
            self.end(state.stamp, result)

    def _stuck(self, now: float, command: GraspCommand) -> EpisodeOutcome | None:
        """Return the result of an engaged arm that something holds for long, or None."""
        if command.hold_reason != NOT_FOLLOWED or not self._is_engaged:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        if self._waiting_since is None or now - self._waiting_since < MAX_WAIT:
            return None
        return EpisodeOutcome(False, STUCK, math.nan)

    def end(self, stamp: int, result: EpisodeOutcome) -> None:
        """Publish a result, and ask a person to prepare the next episode of a real arm.

        Args:
            stamp: time of the joint state [ns].
            result: how the episode ended.
        """
        level = DiagnosticStatus.OK if result.success else DiagnosticStatus.WARN
        distance = "" if math.isnan(result.distance) else f"{1e3 * result.distance:.1f}"
        self.publish(stamp, level, result.reason, distance)
        if self.is_real:
            where = f", {distance} mm from the goal" if result.success else ""
            self.node.get_logger().info(
                f"episode {self.number}: {result.reason}{where}. Next: {self.request}"
            )
            self.engage_client.call_async(SetBool.Request(data=False))

    def publish(self, stamp: int, level: bytes, message: str, distance: str = "") -> None:
        """Publish the state of the episode.

        Args:
            stamp: time of the joint state [ns].
            level: OK, or WARN for a failed one.
            message: running, placed, or why it failed.
            distance: from the goal to the block [mm]; empty if unknown.
        """
        values = [KeyValue(key="episode", value=str(self.number))]
        values += [KeyValue(key="distance [mm]", value=distance)] if distance else []
        status = DiagnosticStatus(level=level, name="episode", message=message, values=values)
        array = DiagnosticArray(status=[status])
        array.header.stamp = to_stamp(stamp)
        self.publisher.publish(array)

    def on_transition(self, message: TransitionEvent) -> None:
        """Start the next episode when the arm is engaged after the last one."""
        self._is_engaged = message.goal_state.id == LifecycleState.PRIMARY_STATE_ACTIVE
        if self.is_over and self._is_engaged:
            self.start()
