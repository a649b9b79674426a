"""Topics of the driver of a real arm: what it reports, as a node receives it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64, String

from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.driver_monitor import DriverMonitor
from invdyn_ros.control.faults import CONTROLLER_INACTIVE, Fault, MeasurementMonitorConfig
from invdyn_ros.graph.names import in_namespace
from invdyn_ros.graph.topics import ROBOT_DESCRIPTION
from invdyn_ros.nodes.controller_states import LATCHED, ControllerStates
from invdyn_ros.nodes.interface_types import interface_type, package_to_install
from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.nodes.runner import IGNORED_COUNT_PREFIX, LAST_IGNORED, DiagnosticNode
from invdyn_ros.robots.driver import Condition, DriverConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.robot_description import description_problem

CLOCK_TOLERANCE = 0.1  # [s] between the stamps of joint states and the clock of this computer
PAUSE_LATENCY = 0.04  # [s] of the speed scaling after the arm stood still
STATES_AGE = 0.3  # [s] since a joint state of the arm came
NUM_STAMPS = 20  # newest ones, of which the one that came fastest tells the clocks apart
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def monitor_config(
    config: MeasurementMonitorConfig, driver: DriverConfig | None, robot: Robot
) -> MeasurementMonitorConfig:
    """Return the thresholds of the faults of the joint states for a driver.

    Args:
        config: the thresholds without one.
        driver: description of the driver, None without one.
        robot: the arm.
    """
    if driver is None or driver.speed_scaling is None:
        return config
    # an arm that is paused stands still before its speed scaling arrives
    count = max(config.frozen_count, round(PAUSE_LATENCY * robot.rate))
    return replace(config, frozen_count=count)


class DriverTopics:
    """Subscriptions to what the driver of one arm reports.

    Attributes:
        monitor: what was reported.
    """

    def __init__(
        self,
        node: DiagnosticNode,
        driver: DriverConfig,
        controller: ArmController,
        joint_names: Sequence[str],
        latch: Callable[[Fault], None],
    ) -> None:
        """Subscribe; each report acts on the controller at once.

        Args:
            node: the node that drives the arm.
            driver: description of the driver.
            controller: controller of the arm.
            joint_names: names of its joints in messages.
            latch: stops the arm because of a fault.

        Raises:
            ValueError: the driver takes no commands in this unit, or a message lacks a field.
        """
        self.node, self.driver, self.controller = node, driver, controller
        self._joint_names, self._latch = joint_names, latch
        self.interface = driver.interface(controller.unit)
        manager = in_namespace(node.get_namespace(), driver.controller_manager)
        self.monitor = DriverMonitor(driver, self.interface, manager)
        self.description_problem: str | None = None
        # of the newest joint states: clock of arrival [s], and how old the stamp was [s]
        self._ages: deque[tuple[float, float]] = deque(maxlen=NUM_STAMPS)
        self._watched: list[str] = []
        for condition in driver.conditions:
            self._watch(condition)
        if driver.speed_scaling is not None:
            self._watched.append(driver.speed_scaling.topic)
            self._subscribe(Float64, driver.speed_scaling.topic, self.on_speed_scaling, False)
        self._controllers: ControllerStates | None = None
        if self.interface.controller:
            self._controllers = ControllerStates(node, self.monitor, self.act)
        self._subscribe(String, ROBOT_DESCRIPTION, self.on_robot_description)

    def _watch(self, condition: Condition) -> None:
        kind = interface_type(condition.type)
        if kind is None:
            package = condition.type.split("/")[0]
            self.node.get_logger().warning(
                f"the {condition.name} of the arm is not watched, because {package} is not "
                f"installed; install {package_to_install(package)}"
            )
            return
        fields = list(kind.get_fields_and_field_types())
        if condition.field not in fields:
            raise ValueError(
                f"{condition.type} has no field '{condition.field}' for the condition "
                f"'{condition.name}'; it has {fields}"
            )
        self._watched.append(condition.topic)

        def on_message(message: Any) -> None:
            value = getattr(message, condition.field)
            if not isinstance(value, (bool, int)):
                raise ForeignMessage(f"{condition.field} is {value}, not a whole number")
            self.monitor.add_value(condition, int(value))

        self._subscribe(kind, condition.topic, on_message)

    def _subscribe(
        self, kind: Any, topic: str, callback: Callable[[Any], None], latched: bool = True
    ) -> None:
        """Subscribe.

        Args:
            kind: type of the messages.
            topic: name of the topic.
            callback: called with each message; then the reports act.
            latched: whether to receive what was published before, too.
        """

        def on_message(message: Any) -> None:
            callback(message)
            self.act()

        self.node.create_subscription(kind, topic, on_message, NEWEST)
        if latched:  # such a subscription gets nothing from a publisher that is not
            self.node.create_subscription(kind, topic, on_message, LATCHED)

    def on_speed_scaling(self, message: Float64) -> None:
        """Note the speed at which the arm executes commands."""
        try:
            self.monitor.add_speed_scaling(message.data, time.monotonic())
        except ValueError as error:
            raise ForeignMessage(str(error)) from error

    def on_robot_description(self, message: String) -> None:
        """Compare the robot description of the driver with the arm."""
        robot = self.controller.robot
        self.description_problem = description_problem(robot, self._joint_names, message.data)

    def add_stamp(self, stamp: int) -> None:
        """Add the stamp of a joint state [ns] that came now."""
        age = (self.node.get_clock().now().nanoseconds - stamp) * 1e-9
        self._ages.append((time.monotonic(), age))

    def act(self) -> None:
        """Let the arm stand still while it is paused, plan at its speed, stop it at a fault."""
        clock = time.monotonic()
        self.controller.pause = self.monitor.pause(clock)
        self.controller.set_driver_speed(self.monitor.speed(clock))
        fault = self.monitor.fault(clock)
        if fault is not None and self.controller.engaged:
            self._latch(fault)

    def refusal(self) -> str | None:
        """Return why the arm must not be engaged, None if it may."""
        self.find_publishers()
        clock = time.monotonic()
        fault = self.monitor.fault(clock)
        is_inactive = fault is not None and fault.reason == CONTROLLER_INACTIVE
        if is_inactive and self._controllers is not None and self._controllers.switch():
            return f"activating {self.interface.controller}; engage again when it is active"
        problem = self.monitor.refusal(clock) or self._joint_states_problem()
        return problem or self.description_problem

    def unwatched(self) -> str:
        """Return what the driver does not report, as the end of a message; empty if nothing."""
        names = self.monitor.unwatched(time.monotonic())
        return f"; not reported, so not watched: {', '.join(names)}" if names else ""

    def find_publishers(self) -> None:
        """Note which topics have a publisher."""
        node = self.node
        self.monitor.set_published({t for t in self._watched if node.count_publishers(t)})

    def _joint_states_problem(self) -> str | None:
        """Return why the joint states or their stamps are of no use, None if they are."""
        since = time.monotonic() - STATES_AGE
        ages = [age for clock, age in self._ages if clock > since]
        if not ages:
            topic = self.driver.joint_states
            key = f"{IGNORED_COUNT_PREFIX}{self.node.resolve_topic_name(topic)}"
            ignored = self.node.diagnostic_values.get(key, "").partition(LAST_IGNORED)[2]
            return f"no joint states of the arm on {topic}: {ignored or 'none come'}"
        behind = min(ages, key=abs)
        if abs(behind) < CLOCK_TOLERANCE:
            return None
        return (
            f"stamps of joint states are {behind:.3g} s behind the clock of this computer, limit "
            f"{CLOCK_TOLERANCE}; synchronise the clocks (chrony, ptp)"
        )
