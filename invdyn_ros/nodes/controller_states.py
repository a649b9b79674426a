"""States of the controllers of a real arm, as its controller manager reports them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future

from invdyn_ros.control.driver_monitor import DriverMonitor
from invdyn_ros.graph.names import in_namespace
from invdyn_ros.graph.topics import DIAGNOSTICS
from invdyn_ros.nodes.interface_types import interface_type, package_to_install

if TYPE_CHECKING:
    from rclpy.node import Node

CONTROLLERS_STATUS = "Controllers Activity"  # of the diagnostics of controller_manager
STATE_SUFFIX = ".state"  # of its keys
ACTIVITY_TYPE = "controller_manager_msgs/msg/ControllerManagerActivity"
SWITCH_TYPE = "controller_manager_msgs/srv/SwitchController"
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
SHARED = QoSProfile(depth=50)  # all nodes publish diagnostics


class ControllerStates:
    """Subscriptions to the states of the controllers of one arm, and the service to switch them.

    The states come from the topic of the controller manager where its messages are installed, else
    from its diagnostics.
    """

    def __init__(self, node: Node, monitor: DriverMonitor, act: Callable[[], None]) -> None:
        """Subscribe.

        Args:
            node: the node that drives the arm.
            monitor: gets the states.
            act: called after each report.
        """
        self._node, self._monitor, self._act = node, monitor, act
        self.manager = monitor.manager
        self._has_activity = self._is_ambiguous = False
        self._client: Any = None
        kind, switch = interface_type(ACTIVITY_TYPE), interface_type(SWITCH_TYPE)
        if kind is not None:
            topic = f"{self.manager}/activity"
            node.create_subscription(kind, topic, self.on_activity, LATCHED)
        if switch is not None:
            self._client = node.create_client(switch, f"{self.manager}/switch_controller")
        node.create_subscription(DiagnosticArray, DIAGNOSTICS, self.on_diagnostics, SHARED)

    def on_activity(self, message: Any) -> None:
        """Note the states, which are published at each change."""
        self._has_activity = True
        self._monitor.add_controllers({c.name: c.state.label for c in message.controllers})
        self._act()

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Note the states, which are published once a second."""
        for status in message.status:
            manager, _, title = status.name.rpartition(": ")
            if title != CONTROLLERS_STATUS or self._has_activity or not self._is_own(manager):
                continue
            states = {v.key: v.value for v in status.values}
            with_suffix = {
                key.removesuffix(STATE_SUFFIX): value
                for key, value in states.items()
                if key.endswith(STATE_SUFFIX)
            }
            self._monitor.add_controllers(with_suffix or states, time.monotonic())
            self._act()

    def _is_own(self, manager: str) -> bool:
        """Return whether a status is of the controller manager of the arm.

        Unless its parameter diagnostic_updater.use_fqn is true, a status has the name of its node
        without the namespace. Then those of two arms cannot be told apart, and are not used.
        """
        if "/" in manager:
            return manager.strip("/") == self.manager.strip("/")
        if not self.manager.endswith(f"/{manager}"):
            return False
        names = self._node.get_node_names_and_namespaces()
        managers = {in_namespace(space, name) for name, space in names if name == manager}
        if others := managers - {self.manager}:
            if self.manager in managers:
                self._warn_of(sorted(others))
            return False
        return True

    def _warn_of(self, others: list[str]) -> None:
        """Say once that nothing tells the controllers from those of other managers."""
        if self._is_ambiguous:
            return
        self._is_ambiguous = True
        self._node.get_logger().warning(
            f"the controllers of {self.manager} are not watched, because {DIAGNOSTICS} does not "
            f"tell them from those of {', '.join(others)}; install "
            f"{package_to_install('controller_manager_msgs')}, or start each controller manager "
            "with -p diagnostic_updater.use_fqn:=true"
        )

    def switch(self) -> bool:
        """Ask the controller manager for the controller in use; return whether that was possible.

        Without its messages the fault says what to type.
        """
        activated, deactivated = self._monitor.controllers_to_switch()
        client = self._client
        if client is None or not activated or not client.service_is_ready():
            return False
        request = client.srv_type.Request(strictness=client.srv_type.Request.STRICT)
        request.activate_controllers, request.deactivate_controllers = activated, deactivated
        client.call_async(request).add_done_callback(self._on_switched)
        return True

    def _on_switched(self, future: Future) -> None:
        """Say why the controller manager did not switch."""
        response = future.result()
        if response is not None and not response.ok:
            words = getattr(response, "message", "") or "see its log"  # Humble gives none
            self._node.get_logger().error(f"{self.manager} did not switch controllers: {words}")
