"""Start a node, keep it alive, end it with one clear line: what every node's `main` calls."""

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
Spin = Callable[[float], None]  # wait at most so many seconds [s] for a message and handle it
HOLD_COUNT_PREFIX = "holds: "  # diagnostics keys that count how often a node held, by reason


class NodeFinished(Exception):
    """A node's work is finished; its process ends with code 0."""


def load_parameters(node: Node, config: type[T]) -> T:
    """Declare one ROS parameter per field of a dataclass and return the dataclass filled.

    Raises:
        ValueError: a value has the wrong type or is out of range; names the parameter.
    """
    from rcl_interfaces.msg import ParameterDescriptor

    loose = ParameterDescriptor(dynamic_typing=True)  # 10 is not 10.0 to rclpy; it is to us
    values: dict[str, Any] = {}
    for field in fields(config):  # type: ignore[arg-type]
        given = node.declare_parameter(field.name, descriptor=loose)
        if given.type_ != Parameter.Type.NOT_SET:
            values[field.name] = given.value
    return from_mapping(config, values, f"parameters of node '{node.get_name()}'")


class DiagnosticNode(Node):
    """A node that publishes diagnostics once a second and checks the types of its topics."""

    exception: BaseException | None = None  # what a callback raised; `Loop` raises it

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
        """Subscribe; what the callback raises ends the node."""
        kept = self._store_exception(callback)
        return super().create_subscription(msg_type, topic, kept, qos_profile, **options)

    def _store_exception(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Keep what a callback raises, an exit too: rclpy would print a traceback on its way."""

        @wraps(callback)
        def call(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except BaseException as error:
                self.exception = self.exception or error

        return call

    def topics_connected(self, topics: str) -> bool:
        """Say whether each of some topics, parted by spaces, has both ends."""
        return all(
            self.count_publishers(topic) and self.count_subscribers(topic)
            for topic in topics.split()
        )

    def hold(self, reason: str | None) -> None:
        """Note why the node does not do as asked (None: it does) and say so once per change."""
        if reason == self.hold_reason:
            return
        self.hold_reason = reason
        if reason is None:
            self.get_logger().info("ok again")
        else:
            self.hold_counts[reason] += 1
            self.diagnostic_values[f"{HOLD_COUNT_PREFIX}{reason}"] = str(self.hold_counts[reason])
            self.get_logger().warning(reason)
            if self.hold_counts[reason] == 1:  # short runs end before the next beat
                self._publish_diagnostics()

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
            wanted = _message_type(subscription.msg_type)
            for info in self.get_publishers_info_by_topic(subscription.topic_name):
                if info.topic_type != wanted:
                    raise ValueError(
                        f"topic {subscription.topic_name} carries {info.topic_type} from node "
                        f"'{info.node_name}', but must carry {wanted}"
                    )


def _message_type(message: Any) -> str:
    package, kind = message.__module__.split(".")[:2]
    return f"{package}/{kind}/{message.__name__}"


class NodeLoop:
    """Takes the turns of a node, on rclpy's leanest executor."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.executor = _create_executor()
        self.executor.add_node(node)

    def step(self) -> None:
        """Let a node that paces itself, by a method `step(spin)`, do so; spin any other."""
        paced = getattr(self.node, "step", None)
        if paced is None:
            self.spin(0.5)
        else:
            paced(self.spin)

    def spin(self, seconds: float) -> None:
        """Wait at most so long [s] for a message and handle it; raise what its callback raised."""
        self.executor.spin_once(seconds)
        failure = getattr(self.node, "exception", None)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Handle no more messages."""
        self.executor.shutdown(timeout_sec=0.5)


def _create_executor() -> Executor:
    try:  # spares the processor: the other builds its wait set anew for each message
        from rclpy.experimental import EventsExecutor
    except ImportError:  # rclpy before 7.1.5
        return SingleThreadedExecutor()
    return EventsExecutor()


def _node_file_name(make: Callable[[], Node]) -> str:
    """Return the name of a node that could not be made: that of its file."""
    return Path(inspect.getfile(sys.modules[make.__module__])).stem


def run(make: Callable[[], Node]) -> None:
    """Run a node until it ends: code 0 if done or interrupted, 2 on bad input."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    name = _node_file_name(make)
    code = 0
    loop = None
    try:
        rclpy.init(args=sys.argv)
        node = make()
        name = node.get_name()
        loop = NodeLoop(node)
        gc.collect()
        gc.freeze()  # the collector need not look again at what lives as long as the node
        while rclpy.ok():
            loop.step()
    except (KeyboardInterrupt, ExternalShutdownException, NodeFinished, SystemExit):
        pass
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
        gc.unfreeze()  # else native libraries complain of leaks
    sys.exit(code)
