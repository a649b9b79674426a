"""Base class, parameters and entry point of the nodes."""

import gc
import inspect
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from invdyn_ros.config import error_line, from_mapping, to_mapping
from invdyn_ros.graph.topics import DIAGNOSTICS
from invdyn_ros.nodes.callback_node import CallbackNode
from invdyn_ros.nodes.namesakes import NamesakeMonitor
from invdyn_ros.nodes.node_loop import NodeLoop
from invdyn_ros.nodes.node_process import handle_signals, reset_signals
from invdyn_ros.nodes.parameters import (
    Reconfiguration,
    default_values,
    describe_fields,
    set_descriptor,
)
from invdyn_ros.nodes.statuses import status_name
from invdyn_ros.nodes.warning_log import WarningLog
from invdyn_ros.robots.registry import register_arm

T = TypeVar("T")
RCLError = rclpy_implementation.RCLError  # of the middleware, such as a missing key
HOLD_COUNT_PREFIX = "holds: "  # of the diagnostics keys that count holds by reason
FAULT_COUNT_PREFIX = "faults: "  # of those that count faults by reason
IGNORED_COUNT_PREFIX = "ignored: "  # of those that count ignored messages by topic
LAST_IGNORED = "the last: "  # before the reason in their values

MAX_TIMELESS_CHECKS = 2  # of a simulator that starts [s]
MAX_REASON_LENGTH = 300  # of a reason with words of a message


class NodeFinished(Exception):
    """The work of a node is complete; its process exits with code 0."""


class NodeFailed(Exception):
    """The node has logged what it could not do; its process exits with code 1."""


def load_parameters(
    node: Node, config: type[T], on_change: Callable[[T], None] | None = None
) -> T:
    """Declare a ROS parameter for each field of a dataclass and return the dataclass.

    Args:
        node: gets the parameters.
        config: the dataclass.
        on_change: takes the dataclass after each change of its fields marked RECONFIGURABLE; all
            others are read-only, and so are these without a function.

    Raises:
        ValueError: a parameter has the wrong type or a value that is not allowed.
    """
    values, defaults = {}, default_values(config)
    descriptors = describe_fields(config, on_change is not None)
    for name in descriptors:
        # from_mapping checks the types; rclpy would reject the integer 10 for a float
        any_type = ParameterDescriptor(dynamic_typing=True)
        parameter = node.declare_parameter(name, defaults.get(name), any_type)
        if parameter.type_ == Parameter.Type.NOT_SET:
            continue  # from_mapping says what is missing
        if name not in defaults or repr(parameter.value) != repr(defaults[name]):  # 0 is not False
            values[name] = parameter.value
    result = from_mapping(config, values, f"parameters of node '{node.get_name()}'")
    for name, value in to_mapping(result).items():
        set_descriptor(node, name, descriptors[name], value)
    if on_change is not None:
        Reconfiguration(node, result, on_change)
    if hasattr(result, "arm"):
        return replace(result, arm=register_arm(result.arm))  # type: ignore[type-var]
    return result


class DiagnosticNode(CallbackNode):
    """Node that publishes diagnostics and checks the message types of its topics once a second.

    A message that the node cannot use is ignored and counted; its reason is logged once.

    Attributes:
        diagnostic_values: values in the diagnostics.
        hold_reason: why the node holds, that is, does not perform its task; None if it does.
        hold_counts: number of holds by reason.
        notice: what somebody should look at, though the node performs its task; None if nothing.
        fault: why the node stopped its task until somebody intervenes; None if it did not.
        ignored_counts: number of ignored messages by topic.
        hardware_id: what the node works with; by default the arm of its parameters.
        warnings: log of repeated warnings.
    """

    hardware_id = ""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.diagnostic_values: dict[str, str] = {}
        self.hold_reason: str | None = None
        self.hold_counts: Counter[str] = Counter()
        self.notice: str | None = None
        self.fault: str | None = None
        self.ignored_counts: Counter[str] = Counter()
        self.warnings = WarningLog(lambda text: self.get_logger().warning(text))
        self._hold_is_logged = False
        self._timeless_checks = 0  # without a time on /clock, in a row
        self._namesakes = NamesakeMonitor(time.monotonic())
        callbacks = PublisherEventCallbacks(matched=self._on_reader)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, DIAGNOSTICS, 10, event_callbacks=callbacks
        )
        self.create_timer(1.0, self._on_timer)

    def ignore(self, topic: str, reason: str) -> None:
        """Count a message that the node cannot use; log each kind of reason once.

        Args:
            topic: name of its topic.
            reason: why the node cannot use it.
        """
        self.ignored_counts[topic] += 1
        count, reason = self.ignored_counts[topic], " ".join(reason.split())[:MAX_REASON_LENGTH]
        self.diagnostic_values[f"{IGNORED_COUNT_PREFIX}{topic}"] = (
            f"{count}, {LAST_IGNORED}{reason}"
        )
        self.warnings.warn(f"message on {topic} ignored: {reason}", once=True)

    def hold(self, reason: str | None) -> None:
        """Set why the node holds, None if it does not hold; log each change, but not too often."""
        if reason == self.hold_reason:
            return
        self.hold_reason = reason
        if reason is None:
            if self._hold_is_logged:
                self.get_logger().info("ok again")
            self._hold_is_logged = False
        else:
            self.hold_counts[reason] += 1
            self.diagnostic_values[f"{HOLD_COUNT_PREFIX}{reason}"] = str(self.hold_counts[reason])
            self._hold_is_logged = self.warnings.warn(reason) or self._hold_is_logged
        self._publish_diagnostics()  # at once, since reports measure how long holds last

    def set_notice(self, notice: str | None) -> None:
        """Set the notice, None if there is none; log and publish each change at once."""
        if notice == self.notice:
            return
        self.notice = notice
        if notice is not None:
            self.get_logger().warning(notice)
        self._publish_diagnostics()

    def set_fault(self, fault: str | None, reason: str = "") -> None:
        """Set the fault, None after somebody cleared it; log and publish each change at once.

        Args:
            fault: the fault with its values and its remedy.
            reason: the fault without values, by which it is counted.
        """
        if fault == self.fault:
            return
        is_new, self.fault = self.fault is None, fault
        if fault is None:
            self.get_logger().info("fault cleared")
        else:
            self.get_logger().error(fault)
            key = f"{FAULT_COUNT_PREFIX}{reason or fault}"
            count = int(self.diagnostic_values.get(key, 0)) + is_new
            self.diagnostic_values[key] = str(count)
        self._publish_diagnostics()

    def _on_timer(self) -> None:
        self._check_topic_types()
        is_timeless = self.uses_simulated_time and not self.get_clock().now().nanoseconds
        self._timeless_checks = self._timeless_checks + 1 if is_timeless else 0
        if self._timeless_checks == MAX_TIMELESS_CHECKS:
            self.warnings.warn(
                "use_sim_time is true, but no time has come on /clock; start what publishes it"
            )
        is_alone = self.nodes_of_this_name() < 2
        problem = f"another node has the name {self.get_fully_qualified_name()}"
        if self._namesakes.must_end(is_alone, time.monotonic()):
            raise ValueError(f"{problem}; end it, or start this one in another namespace")
        if not is_alone:
            self.warnings.warn(f"{problem}; end one of the two")
        self._publish_diagnostics()

    def _on_reader(self, status: Any) -> None:
        """Publish the diagnostics at once for a new reader, who may have missed a change."""
        if status.current_count_change > 0:
            self._publish_diagnostics()

    def on_input(self) -> None:
        """Publish the diagnostics, since their level may change."""
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        level, text = self._level()
        arm = self.get_parameter("arm").value if self.has_parameter("arm") else ""  # or its file
        status = DiagnosticStatus(
            level=level,
            name=status_name(self.get_name(), self.get_namespace()),
            message=text,
            hardware_id=self.hardware_id or Path(str(arm)).stem,
            values=[KeyValue(key=k, value=v) for k, v in self.diagnostic_values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _level(self) -> tuple[bytes, str]:
        """Return the level of the diagnostics and its reason."""
        if self.fault is not None:
            return DiagnosticStatus.ERROR, self.fault
        if self.missing_inputs:
            missing = f"no message on {', '.join(self.missing_inputs)} yet"
            return DiagnosticStatus.STALE, self.hold_reason or missing
        if self.hold_reason is not None:
            return DiagnosticStatus.WARN, self.hold_reason
        if self.notice is not None:
            return DiagnosticStatus.WARN, self.notice
        return DiagnosticStatus.OK, "ok"

    def _check_topic_types(self) -> None:
        for subscription in self.subscriptions:
            expected = _type_name(subscription.msg_type)
            for info in self.get_publishers_info_by_topic(subscription.topic_name):
                if info.topic_type != expected:
                    self.ignore(
                        subscription.topic_name,
                        f"it carries {info.topic_type} from node '{info.node_name}', but must "
                        f"carry {expected}",
                    )


def run(create_node: Callable[[], Any], create_loop: Callable[[Any], Any] = NodeLoop) -> None:
    """Run a node until it ends: exit code 0 if finished or interrupted, 2 on bad input.

    Args:
        create_node: creates the node.
        create_loop: creates its main loop.
    """
    name, code = _module_name(create_node), 0
    node: Any = None
    loop: Any = None
    reset_signals()
    try:
        # signal handlers of rclpy would shut down the context in the middle of a callback
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
        node = create_node()
        name = node.get_name()
        loop = create_loop(node)
        handle_signals(loop)
        gc.collect()
        gc.freeze()  # objects that live as long as the node need no garbage collection
        while rclpy.ok():
            loop.step()
    except (KeyboardInterrupt, ExternalShutdownException, NodeFinished, SystemExit):
        pass
    except NodeFailed:
        code = 1
    except (ValueError, OSError, MemoryError, RCLError) as error:
        print(f"{name}: {error_line(error)}", file=sys.stderr, flush=True)
        code = 2
    finally:
        if loop is not None:
            loop.close()
        if (close := getattr(node, "close", None)) is not None:
            close()
        rclpy.try_shutdown()
        gc.unfreeze()  # else native libraries report leaks
    sys.exit(code)


def _type_name(msg_type: Any) -> str:
    package, interface = msg_type.__module__.split(".")[:2]
    return f"{package}/{interface}/{msg_type.__name__}"


def _module_name(create_node: Callable[[], Any]) -> str:
    """Return the name of a node's module, for errors before the node exists."""
    return Path(inspect.getfile(sys.modules[create_node.__module__])).stem
