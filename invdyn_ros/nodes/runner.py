"""Base class, parameters and main loop of the nodes."""

import gc
import inspect
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from invdyn_ros.config import from_mapping

T = TypeVar("T")
Spin = Callable[[float], None]  # wait for a message, at most a timeout [s], and handle it
HOLD_COUNT_PREFIX = "holds: "  # of the diagnostics keys that count holds by reason


class NodeFinished(Exception):
    """The work of a node is complete; its process exits with code 0."""


def load_parameters(node: Node, config: type[T]) -> T:
    """Declare a ROS parameter for each field of a dataclass and return the dataclass.

    Raises:
        ValueError: a parameter has the wrong type or a value that is not allowed.
    """
    from rcl_interfaces.msg import ParameterDescriptor

    # from_mapping checks the types; rclpy would reject the integer 10 for a float
    any_type = ParameterDescriptor(dynamic_typing=True)
    values: dict[str, Any] = {}
    for field in fields(config):  # type: ignore[arg-type]
        parameter = node.declare_parameter(field.name, descriptor=any_type)
        if parameter.type_ != Parameter.Type.NOT_SET:
            values[field.name] = parameter.value
    return from_mapping(config, values, f"parameters of node '{node.get_name()}'")


class DiagnosticNode(Node):
    """Node that publishes diagnostics and checks the message types of its topics once a second.

    Attributes:
        diagnostic_values: values in the diagnostics.
        hold_reason: why the node holds, that is, does not perform its task; None if it does.
        hold_counts: number of holds by reason.
        exception: exception of a callback, which `NodeLoop` raises.
    """

    exception: BaseException | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.diagnostic_values: dict[str, str] = {}
        self.hold_reason: str | None = None
        self.hold_counts: Counter[str] = Counter()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._store_exception(self._on_timer))

    def create_subscription(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[[Any], None],
        qos_profile: QoSProfile | int,
        **options: Any,
    ) -> Any:
        """Create a subscription; an exception of its callback ends the node.

        Args:
            msg_type: type of the messages.
            topic: name of the topic.
            callback: called with each message.
            qos_profile: quality of service, or the queue depth.
            **options: further options of rclpy.
        """
        callback = self._store_exception(callback)
        return super().create_subscription(msg_type, topic, callback, qos_profile, **options)

    def topics_connected(self, topics: str) -> bool:
        """Return whether each topic, separated by spaces, has a publisher and a subscriber."""
        return all(
            self.count_publishers(topic) and self.count_subscribers(topic)
            for topic in topics.split()
        )

    def hold(self, reason: str | None) -> None:
        """Set why the node holds, None if it does not hold; log each change."""
        if reason == self.hold_reason:
            return
        self.hold_reason = reason
        if reason is None:
            self.get_logger().info("ok again")
        else:
            self.hold_counts[reason] += 1
            self.diagnostic_values[f"{HOLD_COUNT_PREFIX}{reason}"] = str(self.hold_counts[reason])
            self.get_logger().warning(reason)
        self._publish_diagnostics()  # at once, since reports measure how long holds last

    def _store_exception(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Store the exception of a callback, SystemExit too; rclpy would print a traceback."""

        @wraps(callback)
        def call(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except BaseException as error:
                self.exception = self.exception or error

        return call

    def _on_timer(self) -> None:
        self._check_topic_types()
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK if self.hold_reason is None else DiagnosticStatus.WARN,
            name=self.get_name(),
            message=self.hold_reason or "ok",
            values=[KeyValue(key=k, value=v) for k, v in self.diagnostic_values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _check_topic_types(self) -> None:
        for subscription in self.subscriptions:
            expected = _type_name(subscription.msg_type)
            for info in self.get_publishers_info_by_topic(subscription.topic_name):
                if info.topic_type != expected:
                    raise ValueError(
                        f"topic {subscription.topic_name} carries {info.topic_type} from node "
                        f"'{info.node_name}', but must carry {expected}"
                    )


class NodeLoop:
    """Main loop of a node, on the rclpy executor that needs the least CPU time."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.executor = _create_executor()
        self.executor.add_node(node)

    def step(self) -> None:
        """Call the node's method `step(spin)` if it has one, else spin."""
        step = getattr(self.node, "step", None)
        if step is None:
            self.spin(0.5)
        else:
            step(self.spin)

    def spin(self, timeout: float) -> None:
        """Handle one message or timer within a timeout [s]; raise what its callback raised."""
        self.executor.spin_once(timeout)
        exception = getattr(self.node, "exception", None)
        if exception is not None:
            raise exception

    def close(self) -> None:
        """Shut the executor down."""
        self.executor.shutdown(timeout_sec=0.5)


def run(create_node: Callable[[], Node]) -> None:
    """Run a node until it ends: exit code 0 if finished or interrupted, 2 on bad input."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    name = _module_name(create_node)
    code = 0
    loop = None
    try:
        rclpy.init(args=sys.argv)
        node = create_node()
        name = node.get_name()
        loop = NodeLoop(node)
        gc.collect()
        gc.freeze()  # objects that live as long as the node need no garbage collection
        while rclpy.ok():
            loop.step()
    except (KeyboardInterrupt, ExternalShutdownException, NodeFinished):
        pass
    except SystemExit as error:
        code = int(error.code or 0)
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        code = 2
    finally:
        close = getattr(locals().get("node"), "close", None)
        if close is not None:
            close()
        if loop is not None:
            loop.close()
        rclpy.try_shutdown()
        gc.unfreeze()  # else native libraries report leaks
    sys.exit(code)


def _create_executor() -> Executor:
    try:
        # SingleThreadedExecutor builds its wait set anew for each message
        from rclpy.experimental import EventsExecutor
    except ImportError:  # rclpy before 7.1.5
        return SingleThreadedExecutor()
    return EventsExecutor()


def _type_name(msg_type: Any) -> str:
    package, interface = msg_type.__module__.split(".")[:2]
    return f"{package}/{interface}/{msg_type.__name__}"


def _module_name(create_node: Callable[[], Node]) -> str:
    """Return the name of a node's module, for errors before the node exists."""
    return Path(inspect.getfile(sys.modules[create_node.__module__])).stem
